// The log as the page needs it: times, speeds and events of all of it, messages and pictures of a few steps around now.
// It asks the server and keeps what came; it draws nothing. A log that is begun anew begins anew here.

const KEPT = 90;        // steps with their pictures, half a megabyte each
const AT_ONCE = 6;      // steps under way: what a browser opens connections for
const PATIENCE = 8000;  // ms for one answer

export function after(list, x) {  // number of elements <= x, in an ascending list
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= x) low = middle + 1; else high = middle;
  }
  return low;
}

export class Recording {
  constructor() {
    this.generation = -1;
    this.camera = "";
    this.reachable = true;
    this.forget();
  }

  forget() {
    this.times = []; this.events = []; this.speedTimes = []; this.speeds = []; this.cameras = [];
    this.name = ""; this.state = "none";
    this.clear();
  }

  clear() {
    for (const step of this.steps?.values() ?? []) step.image?.close();
    this.steps = new Map();
    this.loading = new Map();
  }

  get growing() { return this.state === "live" || this.state === "reading"; }
  get start() { return this.times[0] ?? 0; }
  get end() { return this.times.at(-1) ?? 0; }
  get length() { return this.end - this.start; }

  at(t) { return Math.max(0, after(this.times, t + 5e-4) - 1); }  // the step that is shown at t

  async poll() {  // true when anything is new
    let log;
    try {
      const since = this.times.length ? `?since=${this.end}` : "";
      const answer = await fetch(`api/log${since}`, { signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(answer.statusText);
      log = await answer.json();
    } catch {
      const news = this.reachable;
      this.reachable = false;
      return news;
    }
    const news = !this.reachable || log.times.length > 0 || log.state !== this.state;
    this.reachable = true;
    if (log.generation !== this.generation) {
      const known = this.times.length;
      this.forget();
      this.generation = log.generation;
      if (known) return this.poll().then(() => true);  // what came was only the end of it
    }
    this.name = log.name; this.state = log.state; this.cameras = log.cameras;
    this.times = this.times.concat(log.times);
    this.speedTimes = this.speedTimes.concat(log.speed[0]);
    this.speeds = this.speeds.concat(log.speed[1]);
    for (const event of log.events) this.events[event.id] = event;
    return news;
  }

  ready(k) { return this.steps.get(k); }

  want(k) {  // ask for step k unless it is here, on its way, or too many are
    if (k < 0 || k >= this.times.length || this.steps.has(k) || this.loading.has(k) || this.loading.size >= AT_ONCE) return;
    const loading = this.loading;
    loading.set(k, this.fetchStep(k).then((step) => {
      if (this.loading !== loading) { step?.image?.close(); return; }  // the log or the camera is another by now
      loading.delete(k);
      this.keep(k, step ?? { t: this.times[k], messages: {}, image: null });
    }));
  }

  keep(k, step) {
    this.steps.set(k, step);
    for (const [old, { image }] of this.steps) {
      if (this.steps.size <= KEPT) break;
      image?.close();
      this.steps.delete(old);
    }
  }

  async fetchStep(k) {
    const t = this.times[k], options = { signal: AbortSignal.timeout(PATIENCE) };
    const picture = this.cameras.length ? fetch(`api/picture?t=${t}&camera=${encodeURIComponent(this.camera)}`, options) : null;
    try {
      const [step, jpeg] = await Promise.all([fetch(`api/step?t=${t}`, options), picture]);
      return {
        t,
        messages: step.ok ? await step.json() : {},
        image: jpeg?.ok ? await createImageBitmap(await jpeg.blob()).catch(() => null) : null,
      };
    } catch {
      return null;
    }
  }
}

export function leadId(messages) {  // of the track that the plan follows, or that a warning is about
  const warned = messages["/warnings"]?.active?.find((w) => w.track_id >= 0 && w.kind !== "blind_spot");
  return messages["/plan"]?.lead_id ?? warned?.track_id ?? -1;
}

export function points(matrix) {  // {"shape": [n, 2], "data": [...]} as [[x, y], ...]
  const out = [];
  for (let k = 0; matrix && k + 1 < matrix.data.length; k += 2) out.push([matrix.data[k], matrix.data[k + 1]]);
  return out;
}

export function cameraModel(messages, camera) {  // of the named camera's topic, or of the first that has one
  return messages[`${camera}/model`] ?? Object.entries(messages).find(([topic]) => topic.endsWith("/model"))?.[1] ?? null;
}
