// The whole drive in one strip: speed as a curve, events as marks under it. Moving on it is the range input's business.

const KPH = 3.6, LEAST = 30;  // km/h that the curve's height shows at least
const LANES = ["critical", "warning", "notice"];

export function drawTimeline(canvas, recording, colour) {
  const g = canvas.getContext("2d"), { width, height } = canvas, pixel = devicePixelRatio;
  const length = Math.max(recording.length, 1e-3), x = (t) => (t - recording.start) / length * width;
  const strip = 9 * pixel, floor = height - strip;
  g.clearRect(0, 0, width, height);
  const fastest = Math.max(LEAST, ...sparse(recording.speeds, 500).map((v) => v * KPH)), y = (v) => floor - v * KPH / fastest * (floor - 6 * pixel);
  const every = Math.max(1, Math.floor(recording.speeds.length / (2 * width)));
  g.beginPath();
  g.moveTo(x(recording.speedTimes[0] ?? 0), floor);
  for (let k = 0; k < recording.speeds.length; k += every) g.lineTo(x(recording.speedTimes[k]), y(recording.speeds[k]));
  g.lineTo(x(recording.speedTimes.at(-1) ?? 0), floor);
  g.fillStyle = colour("curve");
  g.fill();
  g.font = `${11 * pixel}px system-ui, sans-serif`;
  g.fillStyle = colour("muted");
  if (recording.speeds.length) g.fillText(`${Math.round(fastest)} km/h`, 8 * pixel, 15 * pixel);
  for (const name of LANES.toReversed()) {
    g.fillStyle = colour(name);
    for (const event of recording.events) {
      if (event.severity !== name) continue;
      const u = Math.min(x(event.t), width - 3 * pixel), tall = name === "notice" ? strip * 0.5 : strip;
      g.beginPath();
      g.roundRect(u, height - tall, Math.max(3 * pixel, x(event.end) - u), tall, 1.5 * pixel);
      g.fill();
    }
  }
}

function sparse(list, most) {  // at most so many of them: Math.max takes no list of any length
  const every = Math.ceil(list.length / most) || 1;
  return list.filter((_, k) => k % every === 0);
}

export function clock(t) {
  const minutes = Math.floor(Math.max(0, t) / 60), seconds = Math.max(0, t) - 60 * minutes;
  const whole = minutes < 60 ? `${minutes}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
  return `${whole}:${(Math.floor(seconds * 10) / 10).toFixed(1).padStart(4, "0")}`;
}
