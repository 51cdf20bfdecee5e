// The page's clock and hands: what moment is shown, what plays, what a key or a click does. The rest draws.

import { drawAbove } from "./above.js";
import { CLASSES, drawCamera } from "./camera.js";
import { Recording } from "./data.js";
import { EventList, drawAlerts, drawInstruments, loud } from "./panel.js";
import * as sound from "./sound.js";
import { clock, drawTimeline } from "./timeline.js";

const AHEAD = 8;                      // steps asked for before they are shown
const BUSY = 300, CALM = 2000;        // ms between looks at a log that grows, and at one that doesn't
const BEHIND = 0.7, LOST = 4;         // s that live play stays behind the end of the log; more than LOST is jumped over
const FAR = 5;                        // s of a long jump
const STATES = { none: "no log", reading: "reading", live: "live", whole: "recorded", cut: "cut off", gone: "server gone" };

const $ = (id) => document.getElementById(id);
const recording = new Recording();
const canvases = { camera: $("camera"), above: $("above"), curve: $("curve") };
const at = { now: 0, playing: false, live: false, rate: 1, shown: null, classes: false, fresh: false };
const list = new EventList((t) => { hold(); seek(t); });

// ------------------------------------------------------------------ colours follow the reader's light or dark

const names = ["ground", "free", "lane", "ring", "route", "own", "next", "plan", "other", "lead", "car", "glass", "muted", "curve", "critical", "warning", "notice"];
let palette = {};
const colour = (name) => palette[name];
function readColours() {
  const style = getComputedStyle(document.documentElement);
  palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  at.fresh = false;
}
readColours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.width = Math.max(1, Math.round(target.clientWidth * devicePixelRatio));
    target.height = Math.max(1, Math.round(target.clientHeight * devicePixelRatio));
  }
  $("scrub").style.setProperty("--tall", `${canvases.curve.clientHeight}px`);
  at.fresh = false;
});
Object.values(canvases).forEach((canvas) => sizes.observe(canvas));

// ------------------------------------------------------------------ moving in time

function seek(t) {
  at.live = false;
  at.now = Math.max(recording.start, Math.min(recording.end, t));
  at.fresh = false;
  remember();
}

function stepBy(count) {
  hold();
  const k = recording.at(at.now) + count;
  seek(recording.times[Math.max(0, Math.min(recording.times.length - 1, k))] ?? 0);
}

function play() {
  if (!recording.times.length) return;
  if (!recording.growing && at.now >= recording.end - 1e-3) at.now = recording.start;
  at.playing = true;
  showPlaying();
}

function hold() {
  at.playing = at.live = false;
  showPlaying();
  remember();
}

function follow() {
  at.live = true;
  at.now = Math.max(recording.start, recording.end - BEHIND);
  play();
}

function remember() {  // the moment, in the address: a link to it
  history.replaceState(null, "", `#t=${at.now.toFixed(2)}`);
}

function toEvent(direction) {
  const events = list.shown.map((e) => e.t), here = at.now;
  const t = direction > 0 ? events.find((e) => e > here + 0.01) : events.findLast((e) => e < here - 0.01);
  if (t !== undefined) { hold(); seek(t); }
}

function setRate(change) {
  const options = $("rate").options, k = Math.max(0, Math.min(options.length - 1, $("rate").selectedIndex + change));
  $("rate").selectedIndex = k;
  at.rate = Number(options[k].value);
}

function advance(seconds) {
  if (recording.state === "whole") at.live = false;  // plays on to the end
  const before = at.now, gap = recording.end - at.now;
  if (at.live && gap > LOST) at.now = recording.end - BEHIND;
  else if (at.live) at.now = Math.min(recording.end, at.now + seconds * Math.min(3, gap / BEHIND));  // slower near the end: no jerks
  else at.now = Math.min(recording.end, at.now + seconds * at.rate);
  const k = recording.at(at.now);
  if (!recording.ready(k)) { at.now = before; recording.want(k); return; }  // waits for what comes
  for (const event of recording.events) if (loud(event) && event.t > before && Math.min(event.t, recording.end) <= at.now) sound.play(event.severity);
  if (!at.live && at.now >= recording.end && !recording.growing) hold();
}

// ------------------------------------------------------------------ drawing, when anything is new

function frame(time) {
  const seconds = Math.min(0.1, (time - (frame.last ?? time)) / 1000);
  frame.last = time;
  if (recording.times.length) {
    if (at.playing) advance(seconds);
    const k = recording.at(at.now), step = recording.ready(k);
    recording.want(k);
    const stride = Math.max(1, Math.round(at.playing ? at.rate / 2 : 1));
    for (let j = 1; j <= AHEAD; j++) recording.want(k + j * stride);
    if (step && (at.shown !== step || !at.fresh)) draw(step);
    if (step) showTime();
  }
  requestAnimationFrame(frame);
}

function draw(step) {
  at.shown = step;
  at.fresh = true;
  drawCamera(canvases.camera, step, recording.camera || `${recording.cameras[0]}`, at.classes);
  drawAbove(canvases.above, step, recording.camera || `${recording.cameras[0]}`, colour);
  drawInstruments(step);
  drawTimeline(canvases.curve, recording, colour);
}

function showTime() {
  const text = clock(at.now - recording.start);
  if ($("clock").textContent === text && at.listed === recording.events.length) return;
  at.listed = recording.events.length;
  $("clock").textContent = text;
  $("length").textContent = ` / ${clock(recording.length)}`;
  $("scrub").min = recording.start;
  $("scrub").max = recording.end;
  $("scrub").value = at.now;
  $("scrub").setAttribute("aria-valuetext", `${text} of ${clock(recording.length)}`);
  drawAlerts(recording.events, at.now, recording.end);
  list.update(recording.events, at.now);
}

function showPlaying() {
  $("play").classList.toggle("playing", at.playing);
  $("play").setAttribute("aria-label", at.playing ? "Pause" : "Play");
  $("state").classList.toggle("on", at.live);
}

function showLog() {
  const state = recording.reachable ? recording.times.length || recording.growing ? recording.state : "none" : "gone";
  $("name").textContent = recording.name;
  $("state").textContent = STATES[state];
  $("state").dataset.state = state;
  document.title = recording.name ? `${recording.name} · nanopilot` : "nanopilot";
  $("other").hidden = recording.cameras.length < 2;
  at.fresh = false;
  at.listed = -1;
}

async function keepUp() {
  const { generation, state } = recording, empty = !recording.times.length, news = await recording.poll();
  if (recording.times.length && (empty || recording.generation !== generation)) begin();
  else if (state === "reading" && recording.state === "live" && at.now === recording.start && !at.playing) follow();
  if (news) showLog();
  setTimeout(keepUp, recording.reachable && recording.growing ? BUSY : CALM);
}

function begin() {  // a log is there: at its end if it is being written, else where the address says
  const wanted = Number(new URLSearchParams(location.hash.slice(1)).get("t") ?? NaN);
  at.now = recording.start;
  if (recording.state === "live") follow();
  else if (Number.isFinite(wanted)) seek(wanted);
}

// ------------------------------------------------------------------ hands

const actions = {
  play: () => at.playing ? hold() : play(),
  back: () => stepBy(-1),
  forth: () => stepBy(1),
  previous: () => toEvent(-1),
  next: () => toEvent(1),
  state: follow,
  ask: () => $("help").open ? $("help").close() : $("help").showModal(),
  scene: () => {
    at.classes = !at.classes;
    at.fresh = false;
    $("scene").setAttribute("aria-pressed", String(at.classes));
  },
  other: () => {
    const k = recording.cameras.indexOf(recording.camera || recording.cameras[0]);
    recording.camera = recording.cameras[(k + 1) % recording.cameras.length] ?? "";
    recording.clear();
  },
  sound: () => {
    const on = sound.toggle();
    $("sound").setAttribute("aria-pressed", String(on));
    $("sound").textContent = on ? "Sound on" : "Sound off";
  },
};
for (const [id, act] of Object.entries(actions)) $(id).onclick = act;
$("scrub").oninput = () => { hold(); seek(Number($("scrub").value)); };
$("rate").onchange = () => setRate(0);

const keys = {
  ArrowLeft: (shift) => shift ? seek(at.now - FAR) : stepBy(-1),
  ArrowRight: (shift) => shift ? seek(at.now + FAR) : stepBy(1),
  Home: () => seek(recording.start), End: () => seek(recording.end),
  "+": () => setRate(1), "=": () => setRate(1), "-": () => setRate(-1),
  " ": actions.play, n: actions.next, p: actions.previous, l: follow, s: actions.scene, c: actions.other, m: actions.sound, "?": actions.ask,
};
addEventListener("keydown", (press) => {
  const on = press.target, act = keys[press.key.length === 1 ? press.key.toLowerCase() : press.key];
  if (!act || press.ctrlKey || press.metaKey || press.altKey || on.tagName === "SELECT") return;
  if (press.key === " " && on.tagName === "BUTTON" || $("help").open && press.key !== "?") return;
  press.preventDefault();
  act(press.shiftKey);
});

$("classes").append(...Object.entries(CLASSES).filter(([, shade]) => shade).map(([name, shade]) => {
  const item = document.createElement("li"), patch = document.createElement("i");
  patch.style.background = shade;
  item.append(patch, name.replaceAll("_", " "));
  return item;
}));

keepUp();
requestAnimationFrame(frame);
