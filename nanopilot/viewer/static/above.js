// The world from above, in metres, x up: what a driver's display shows. Only what the log's messages say is drawn.

import { cameraModel, leadId, points } from "./data.js";

const AHEAD = 62, BEHIND = 12, ASIDE = 13;  // m that are always in the picture
const RINGS = [20, 40, 60];                 // m
const MOVING = 0.5;                         // m/s: a slower one has no arrow
const LIKELY = 0.5;
const UNSURE = 1;                           // m of standard deviation across: a lane line is drawn up to there
const CAR = { length: 4.6, width: 1.85, rear_overhang: 0.9 };  // m, when the log does not tell
const KPH = 3.6;

export function drawAbove(canvas, step, camera, colour) {
  const { messages } = step, world = messages["/world"], percept = messages["/percept"], plan = messages["/plan"];
  const car = messages["/vehicle"] ?? CAR, g = canvas.getContext("2d"), pixel = devicePixelRatio;
  const scale = Math.min(canvas.height / (AHEAD + BEHIND), canvas.width / 2 / ASIDE);
  const middle = canvas.width / 2, origin = canvas.height - BEHIND * scale;
  const at = ([x, y]) => [middle - y * scale, origin - x * scale];
  const path = (line) => { g.beginPath(); for (const p of line) g.lineTo(...at(p)); };
  const stroke = (line, name, width, dash = []) => {
    if (line.length < 2) return;
    path(line);
    g.setLineDash(dash); g.strokeStyle = colour(name); g.lineWidth = width; g.stroke(); g.setLineDash([]);
  };

  g.setTransform(1, 0, 0, 1, 0, 0);
  g.globalAlpha = 1;
  g.lineJoin = g.lineCap = "round";
  g.fillStyle = colour("ground");
  g.fillRect(0, 0, canvas.width, canvas.height);

  const model = cameraModel(messages, camera);
  if (percept && model) { path(freeSpace(percept, model)); g.closePath(); g.fillStyle = colour("free"); g.fill(); }
  const curves = [world?.left, world?.right].map((curve) => sure(curve));
  if (curves[0].length && curves[1].length) { path([...curves[0], ...curves[1].toReversed()]); g.fillStyle = colour("lane"); g.fill(); }

  for (const ring of RINGS) {
    g.beginPath();
    g.arc(middle, origin, ring * scale, Math.PI * 1.12, Math.PI * 1.88);
    g.strokeStyle = colour("ring"); g.lineWidth = pixel; g.stroke();
  }

  if (world) stroke(points(world.route_line), "route", 5 * pixel);
  const lines = (percept?.lanes ?? []).filter((line) => line.probability > LIKELY);
  const dash = (side) => lines.find((line) => line.side === side)?.form === "dashed" ? [7 * pixel, 6 * pixel] : [];
  for (const line of lines) if (!world || Math.abs(line.side) > 1) stroke(points(line.points), "next", 1.8 * pixel, dash(line.side));
  if (world) for (const k of [0, 1]) stroke(curves[k], "own", 2.4 * pixel, dash(k ? 1 : -1));
  g.font = `${11 * pixel}px system-ui, sans-serif`;
  for (const ring of RINGS) label(g, `${ring} m`, canvas.width - 40 * pixel, origin - ring * scale + 4 * pixel, colour("muted"), colour("ground"), pixel);
  if (plan) drawPlan(g, plan, car, at, scale, colour);

  const lead = leadId(messages);
  const others = world ? world.tracks : (percept?.objects ?? []).map((o) => ({ ...o, x: o.position[0], y: o.position[1], vx: 0, vy: 0, id: -2, unseen: 0, probability: o.score }));
  const taken = [], relative = messages["/warnings"]?.off?.length > 0;  // places of labels; without an own speed theirs is not known either
  for (const other of others) drawOther(g, relative ? { ...other, vx: 0, vy: 0 } : other, at, scale, colour(other.id === lead ? "lead" : "other"), colour("ground"), pixel, taken);
  drawCar(g, car, at, scale, colour);
  canvas.setAttribute("aria-label", describe(world, others));
}

function sure(curve) {  // a curve's points up to where it is a guess
  const end = curve?.std.findIndex((std) => std > UNSURE) ?? 0;
  return points(curve?.points).slice(0, end < 0 ? undefined : end);
}

function describe(world, others) {
  const ahead = others.filter((o) => o.x > 0), near = Math.min(...ahead.map((o) => Math.hypot(o.x, o.y)));
  return `The world from above: ${others.length} others` + (isFinite(near) ? `, the nearest ahead at ${Math.round(near)} metres` : "") + (world?.path ? "" : ", own lane not known");
}

function freeSpace({ free_distance: free }, model) {  // the drivable distance of each column of the picture, as a fan
  const fan = [[model.x, model.y]];
  free.forEach((d, k) => {
    const u = (k + 0.5) * model.width / free.length - 0.5, angle = model.yaw - Math.atan((u - model.cx) / model.fx);
    fan.push([model.x + d * Math.cos(angle), model.y + d * Math.sin(angle)]);
  });
  return fan;
}

function drawPlan(g, plan, car, at, scale, colour) {
  const middle = points(plan.xy);
  if (middle.length < 2) return;
  const sides = [1, -1].map((side) => middle.map(([x, y], k) => [x - Math.sin(plan.yaw[k]) * side * car.width / 2, y + Math.cos(plan.yaw[k]) * side * car.width / 2]));
  g.beginPath();
  for (const p of [...sides[0], ...sides[1].toReversed()]) g.lineTo(...at(p));
  g.globalAlpha = 0.28; g.fillStyle = colour("plan"); g.fill(); g.globalAlpha = 1;
  g.beginPath();
  for (const p of middle) g.lineTo(...at(p));
  g.strokeStyle = colour("plan"); g.lineWidth = Math.max(2, 0.28 * scale); g.stroke();
}

function drawOther(g, other, at, scale, colour, ground, pixel, taken) {
  const [u, v] = at([other.x, other.y]), speed = Math.hypot(other.vx, other.vy);
  g.globalAlpha = (0.35 + 0.65 * other.probability) * (other.unseen > 0.3 ? 0.5 : 1);
  g.save();
  g.translate(u, v);
  g.rotate(-other.yaw);
  const length = other.length * scale, width = other.width * scale;
  g.fillStyle = colour;
  g.beginPath();
  if (other.kind === "vehicle") g.roundRect(-width / 2, -length / 2, width, length, 0.35 * scale);
  else g.ellipse(0, 0, Math.max(width, 0.8 * scale) / 2, Math.max(length, 0.8 * scale) / 2, 0, 0, 7);
  g.fill();
  if (other.kind === "vehicle") {  // windscreen: where its nose is
    g.fillStyle = ground;
    g.globalAlpha *= 0.55;
    g.beginPath();
    g.roundRect(-width * 0.38, -length * 0.28, width * 0.76, length * 0.16, 0.15 * scale);
    g.fill();
    g.globalAlpha /= 0.55;
  }
  g.restore();
  if (speed > MOVING) arrow(g, [u, v], at([other.x + other.vx, other.y + other.vy]), colour, pixel);
  const text = `${Math.round(Math.hypot(other.x, other.y))} m` + (speed > MOVING ? ` · ${Math.round(speed * KPH)} km/h` : "");
  const right = u + Math.max(length, width) * 0.35 + 6 * pixel, room = g.measureText(text).width;
  const left = right + room < g.canvas.width ? right : u - room - width / 2 - 6 * pixel;
  let line = v + 4 * pixel;
  while (line > 20 * pixel && taken.some(([u2, v2, wide]) => u2 < left + room && left < u2 + wide && Math.abs(v2 - line) < 13 * pixel)) line -= 13 * pixel;
  taken.push([left, line, room]);
  label(g, text, left, line, colour, ground, pixel);
  g.globalAlpha = 1;
}

function label(g, text, u, v, colour, ground, pixel) {  // with a rim, to be read on any line
  g.strokeStyle = ground; g.lineWidth = 3 * pixel; g.strokeText(text, u, v);
  g.fillStyle = colour; g.fillText(text, u, v);
}

function arrow(g, [u0, v0], [u1, v1], colour, pixel) {  // one second of motion over ground
  const angle = Math.atan2(v1 - v0, u1 - u0), head = 5 * pixel;
  g.strokeStyle = g.fillStyle = colour;
  g.lineWidth = 2 * pixel;
  g.beginPath(); g.moveTo(u0, v0); g.lineTo(u1, v1); g.stroke();
  g.beginPath();
  for (const turn of [0, 2.5, -2.5]) g.lineTo(u1 + head * Math.cos(angle + turn), v1 + head * Math.sin(angle + turn));
  g.fill();
}

function drawCar(g, car, at, scale, colour) {
  const [u, v] = at([car.length / 2 - car.rear_overhang, 0]), length = car.length * scale, width = car.width * scale;
  g.fillStyle = colour("car");
  g.beginPath(); g.roundRect(u - width / 2, v - length / 2, width, length, [0.7 * scale, 0.7 * scale, 0.45 * scale, 0.45 * scale]); g.fill();
  g.fillStyle = colour("glass");
  g.beginPath(); g.roundRect(u - width * 0.38, v - length * 0.24, width * 0.76, length * 0.17, [0.5 * scale, 0.5 * scale, 0.1 * scale, 0.1 * scale]); g.fill();
  g.beginPath(); g.roundRect(u - width * 0.35, v + length * 0.26, width * 0.7, length * 0.1, 0.2 * scale); g.fill();
}
