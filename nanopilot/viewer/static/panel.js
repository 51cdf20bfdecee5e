// What is said in words and numbers: the instruments, the warnings over the picture, the list of events.

import { leadId, points } from "./data.js";
import { clock } from "./timeline.js";

const KPH = 3.6;
const SLOW = 1;          // m/s: below it a time gap means nothing
const UNSURE = 2, UNSURE_SHARE = 0.12;  // m/s and share of speed: a standard deviation above both is no speed, as messages.speed_known has it
const SHORT = 0.9;       // s: a gap below is shown in the warning's colour, guess
const FRONT = 3.7;       // m from the rear axle to the bumper, when the log does not tell
const SHOWN = 2;         // s that a warning stays at least
const FULL = 4;          // m/s² that fill the pedal bar
const RATIO = 15;        // steering wheel to road wheel, as draw.py
const TURNS = { straight: "straight on", left: "left", right: "right", keep_left: "keep left", keep_right: "keep right", roundabout: "roundabout", arrive: "arrive" };
const GROUPS = { warning: (e) => loud(e) || e.source === "warning", safety: (e) => e.source === "safety" || e.source === "fault", driving: (e) => e.source === "behaviour" || e.source === "judge", all: () => true };

const $ = (id) => document.getElementById(id);
const say = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

export const loud = (event) => event.severity === "critical" || event.severity === "warning";

export function drawInstruments({ messages }) {
  const car = messages["/car"], world = messages["/world"], plan = messages["/plan"], safe = messages["/safe"], read = messages["/warnings"]?.speed_limit;
  const motion = messages["/motion"], lens = messages["/calibration"];  // where nobody but the camera tells them
  const told = motion ?? car;
  const speed = (told?.speed_std ?? 0) < Math.max(UNSURE, UNSURE_SHARE * (told?.speed ?? 0)) ? told?.speed ?? world?.speed : undefined;
  say("speed", speed === undefined ? "–" : `${Math.round(Math.abs(speed) * KPH)}`);
  const routed = points(world?.route_line).length > 0, limit = routed && world.speed_limit || read;  // told by navigation alone, or by a sign
  say("limit", limit ? `${Math.round(limit * KPH)}` : "–");
  say("set", plan?.set_speed ? `set ${Math.round(plan.set_speed * KPH)}` : "");  // of a watched driver nobody tells it
  gap(world, leadId(messages), messages["/vehicle"], speed);
  say("who", safe ? safe.engaged ? "Pilot drives" : "Driver drives" : lens ? "Driver drives, watched" : "Driving");
  const [what, why] = doing(plan, messages["/step"]?.fault, lens, motion);
  say("behaviour", what);
  say("reason", safe?.reasons?.length ? `safety: ${safe.reasons.join(", ")}` : why);
  $("reason").classList.toggle("checked", Boolean(safe?.reasons?.length));
  say("turn", routed ? TURNS[world.next_turn] ?? world.next_turn : "–");
  say("turn-note", routed ? `in ${Math.round(Math.max(0, world.next_turn_distance))} m` : "");
  say("goal", routed ? `${Math.round(Math.max(0, world.goal_distance))} m to go` : "Next");
  $("wheel").style.transform = `rotate(${-(car?.wheel_angle ?? 0) * RATIO}rad)`;
  const share = Math.max(-1, Math.min(1, (safe?.acceleration ?? car?.acceleration ?? 0) / FULL)), bar = $("pedals").firstElementChild;
  bar.style.height = `${Math.abs(share) * 50}%`;
  bar.style.bottom = share < 0 ? `${50 - Math.abs(share) * 50}%` : "50%";
  bar.classList.toggle("brakes", share < 0);
}

function doing(plan, fault, lens, motion) {  // what is done, and why
  const name = plan?.behaviour.replaceAll("_", " ");
  if (fault) return [name ?? "no plan", fault];
  if (plan) return [name, plan.reason === name ? "" : plan.reason];
  return [lens && !lens.valid ? `finding the camera, ${Math.round(lens.progress * 100)} %` : motion ? "watching" : "–", motion ? `speed from: ${motion.source}` : ""];
}

function gap(world, id, vehicle, speed) {
  const lead = ahead(world, id), front = vehicle ? vehicle.length - vehicle.rear_overhang : FRONT;
  const distance = lead ? Math.max(0, lead.x - lead.length / 2 - front) : 0, seconds = lead && speed > SLOW ? distance / speed : null;
  say("gap", seconds === null ? "–" : `${seconds.toFixed(1)} s`);
  say("gap-note", lead ? `${lead.kind} at ${Math.round(distance)} m` : "nobody ahead");
  $("gap").classList.toggle("short", seconds !== null && seconds < SHORT);
}

function ahead(world, id) {  // the one that limits us or is warned of, else the nearest one in our lane
  const tracks = world?.tracks ?? [], named = tracks.find((t) => t.id === id), lane = points(world?.path?.points);
  const inLane = (t) => t.x > 0 && lane.some(([x, y]) => Math.abs(x - t.x) < 3 && Math.abs(y - t.y) < world.lane_width / 2);
  return named ?? tracks.filter(inLane).sort((a, b) => a.x - b.x)[0];
}

export function drawAlerts(events, now, end) {
  const active = events.filter((e) => GROUPS.warning(e) && Math.min(e.t, end) <= now + 1e-3 && now <= Math.max(e.end, e.t + SHOWN)).filter((e, k, all) => !all.slice(k + 1).some((later) => later.kind === e.kind && later.source === e.source));
  const text = active.map((e) => e.id).join();
  if ($("alerts").dataset.shown === text) return;
  $("alerts").dataset.shown = text;
  $("alerts").replaceChildren(...active.map((e) => {
    const pill = document.createElement("p");
    pill.className = e.severity;
    pill.textContent = e.text;
    return pill;
  }));
}

export class EventList {
  constructor(jump) {
    this.jump = jump;
    this.show = "all";
    this.key = "";
    for (const button of document.querySelectorAll(".choose button")) {
      button.onclick = () => {
        this.show = button.dataset.show;
        for (const other of document.querySelectorAll(".choose button")) other.setAttribute("aria-pressed", String(other === button));
        this.key = "";
        this.update(this.events, this.now);
      };
    }
  }

  get shown() { return this.events.filter(GROUPS[this.show]).sort((a, b) => a.t - b.t); }

  update(events, now) {
    [this.events, this.now] = [events, now];
    const key = `${events.length} ${events[0]?.t}`;
    if (key !== this.key) this.build(key);
    const current = this.items.findLast(({ event }) => event.t <= now + 1e-3);
    if (current === this.current) return;
    this.current?.button.removeAttribute("aria-current");
    current?.button.setAttribute("aria-current", "true");
    this.current = current;
    const list = $("events"), place = current?.button.offsetTop ?? 0;
    if (place < list.scrollTop || place > list.scrollTop + list.clientHeight - 40) list.scrollTop = place - list.clientHeight / 3;
  }

  build(key) {
    this.key = key;
    this.current = undefined;
    this.items = this.shown.map((event) => {
      const button = document.createElement("button"), time = document.createElement("time"), text = document.createElement("span");
      button.type = "button";
      button.className = event.severity;
      time.textContent = clock(event.t);
      text.textContent = event.text;
      button.append(time, text);
      button.onclick = (click) => { this.jump(event.t); if (click.detail) button.blur(); };  // space is play again after a click
      return { event, button };
    });
    $("events").replaceChildren(...this.items.map(({ button }) => {
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    for (const button of document.querySelectorAll(".choose button")) button.querySelector("b").textContent = this.events.filter(GROUPS[button.dataset.show]).length;
    $("no-events").hidden = this.items.length > 0;
  }
}
