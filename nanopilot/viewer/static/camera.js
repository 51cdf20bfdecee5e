// The camera's picture with what was seen drawn on it. What is in metres is projected by the camera's model, so a line
// beside the paint is an error of the pilot, not of the drawing (as draw.py, which makes the films).

import { cameraModel, leadId, points } from "./data.js";

export const COLOURS = { plan: "#46e0a4", own: "#5fd7f5", next: "#8aa4ff", other: "#ffb64d", lead: "#ff6f61", sign: "#f4f4f4", edge: "#d8dee6" };
export const CLASSES = {  // in the order of messages.SceneClass
  other: null, road: "#8060a8", marking: "#f0f0f0", pavement: "#e070c0", vehicle: "#4068f0", person: "#f04050", cyclist: "#f08040",
  sign_or_light: "#f0e040", nature: "#50a850", building: "#808890", sky: "#60b0e0", pole: "#b0b0b0", fence: "#c09060",
};
const NEAR = 0.5;        // m of depth: nothing nearer can be projected
const LIKELY = 0.5;      // a line less probable is not drawn
const CAR_WIDTH = 1.85;  // m, of the plan's strip when the log does not tell
const KPH = 3.6;

export function project(model, x, y, z = 0) {  // [u, v, depth] of a point in the vehicle frame
  const sin = Math.sin, cos = Math.cos, { yaw = 0, pitch = 0, roll = 0 } = model;
  const dx = x - model.x, dy = y - model.y, dz = z - model.z;
  const x1 = cos(yaw) * dx + sin(yaw) * dy, y1 = -sin(yaw) * dx + cos(yaw) * dy;          // out of yaw,
  const x2 = cos(pitch) * x1 - sin(pitch) * dz, z2 = sin(pitch) * x1 + cos(pitch) * dz;  // pitch,
  const y3 = cos(roll) * y1 + sin(roll) * z2, z3 = -sin(roll) * y1 + cos(roll) * z2;     // roll
  return [model.fx * -y3 / x2 + model.cx, model.fy * -z3 / x2 + model.cy, x2];
}

export function drawCamera(canvas, step, camera, classes) {
  const { messages, image } = step, model = cameraModel(messages, camera), g = canvas.getContext("2d");
  const width = image?.width ?? model?.width ?? 512, height = image?.height ?? model?.height ?? 256;
  canvas.style.setProperty("--ratio", width / height);
  const scale = canvas.width / width;
  g.setTransform(1, 0, 0, 1, 0, 0);
  g.fillStyle = "#0b0d10";
  g.fillRect(0, 0, canvas.width, canvas.height);
  if (image) {
    g.imageSmoothingQuality = "high";
    g.drawImage(image, 0, 0, canvas.width, canvas.height);
  }
  const percept = messages["/percept"];
  if (classes && percept?.scene) scene(g, percept.scene, canvas);
  g.setTransform(scale, 0, 0, scale, scale / 2, scale / 2);  // (0, 0) is the centre of a pixel
  g.lineJoin = g.lineCap = "round";
  const pixel = 1 / scale * devicePixelRatio;  // one CSS pixel
  if (model && messages["/plan"]) ribbon(g, model, messages["/plan"], messages["/vehicle"]?.width ?? CAR_WIDTH);
  for (const line of percept?.lanes ?? []) {
    if (line.probability > LIKELY) {
      stroke(g, points(line.image_points), Math.abs(line.side) === 1 ? COLOURS.own : COLOURS.next, 2.6 * pixel, line.form === "dashed");
    }
  }
  const taken = [];  // places of labels
  for (const light of percept?.lights ?? []) box(g, light.box, `light ${light.state}`, { red: "#ff5a4d", yellow: "#ffd24d", green: "#52e08a" }[light.state] ?? COLOURS.sign, pixel, taken);
  for (const sign of percept?.signs ?? []) box(g, sign.box, sign.name.replaceAll("_", " "), COLOURS.sign, pixel, taken);
  const lead = leadId(messages), relative = messages["/warnings"]?.off?.length > 0;  // without an own speed theirs is not known either
  for (const thing of percept?.objects ?? []) {
    const track = trackOf(thing, messages["/world"]?.tracks ?? []);
    const speed = track && !relative ? ` · ${Math.round(Math.hypot(track.vx, track.vy) * KPH)} km/h` : "";
    box(g, thing.box, `${Math.round(thing.distance)} m${speed}`, track && track.id === lead ? COLOURS.lead : COLOURS.other, pixel, taken);
  }
  canvas.setAttribute("aria-label", describe(percept, image));
}

function describe(percept, image) {
  if (!image) return "No picture at this moment";
  if (!percept) return "Camera picture, nothing seen in it";
  const near = Math.min(...percept.objects.map((o) => o.distance)), lines = percept.lanes.filter((l) => l.probability > LIKELY).length;
  return `Camera picture: ${lines} lane lines, ${percept.objects.length} others` + (isFinite(near) ? `, the nearest at ${Math.round(near)} metres` : "");
}

function trackOf(thing, tracks) {  // the nearest track of its kind within 3 m
  let best = null, least = 3;
  for (const track of tracks) {
    const d = Math.hypot(track.x - thing.position[0], track.y - thing.position[1]);
    if (track.kind === thing.kind && d < least) [best, least] = [track, d];
  }
  return best;
}

function ribbon(g, model, plan, width) {  // the plan's strip of road, as wide as the car, fading ahead
  const middle = points(plan.xy), edges = [];
  middle.forEach(([x, y], k) => {
    const nx = -Math.sin(plan.yaw[k]) * width / 2, ny = Math.cos(plan.yaw[k]) * width / 2;
    const left = project(model, x + nx, y + ny), right = project(model, x - nx, y - ny);
    if (left[2] > NEAR && right[2] > NEAR) edges.push([left, right]);
  });
  if (edges.length < 2) return;
  const fade = g.createLinearGradient(0, edges[0][0][1], 0, edges.at(-1)[0][1]);
  fade.addColorStop(0, COLOURS.plan + "90");
  fade.addColorStop(1, COLOURS.plan + "18");
  g.fillStyle = fade;
  g.beginPath();
  for (const [left] of edges) g.lineTo(left[0], left[1]);
  for (const [, right] of edges.toReversed()) g.lineTo(right[0], right[1]);
  g.fill();
}

function stroke(g, line, colour, width, dashed) {
  if (line.length < 2) return;
  g.beginPath();
  for (const [u, v] of line) g.lineTo(u, v);
  g.setLineDash(dashed ? [4 * width, 3 * width] : []);
  g.strokeStyle = "#0008"; g.lineWidth = width * 1.9; g.stroke();
  g.strokeStyle = colour; g.lineWidth = width; g.stroke();
  g.setLineDash([]);
}

function box(g, [u0, v0, u1, v1], label, colour, pixel, taken) {
  g.strokeStyle = colour;
  g.lineWidth = 2 * pixel;
  g.beginPath();
  g.roundRect(u0, v0, u1 - u0, v1 - v0, 3 * pixel);
  g.stroke();
  g.font = `600 ${12 * pixel}px system-ui, sans-serif`;
  const width = g.measureText(label).width + 10 * pixel, height = 17 * pixel;
  let top = Math.max(0, v0 - 20 * pixel);
  const covered = ([u, v, w]) => u < u0 + width && u0 < u + w && Math.abs(v - top) < height;
  while (top > height && taken.some(covered)) top -= height;  // above the labels that are there
  taken.push([u0, top, width]);
  g.fillStyle = "#0d1116d0";
  g.beginPath();
  g.roundRect(u0 - pixel, top, width, height - pixel, 4 * pixel);
  g.fill();
  g.fillStyle = colour;
  g.fillText(label, u0 + 4 * pixel, top + 12.6 * pixel);
}

function scene(g, { shape: [height, width], base64 }, canvas) {
  const classes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)), small = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  const colours = Object.values(CLASSES);
  classes.forEach((number, k) => {
    const colour = colours[number];
    if (colour) pixels.data.set([1, 3, 5].map((c) => parseInt(colour.slice(c, c + 2), 16)).concat(120), 4 * k);
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, 0, 0, canvas.width, canvas.height);
  g.imageSmoothingEnabled = true;
}
