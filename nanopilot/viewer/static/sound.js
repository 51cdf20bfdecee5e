// Warnings to be heard: off until asked for, since a browser lets a page be loud only after a click.

const NOTES = { warning: [[660, 0, 0.16]], critical: [[990, 0, 0.09], [990, 0.14, 0.09], [990, 0.28, 0.14]] };  // Hz, s from now, s
let audio = null;

export function toggle() {  // whether it is on now
  if (audio) { audio.close(); audio = null; return false; }
  audio = new AudioContext();
  play("warning");
  return true;
}

export function play(severity) {
  for (const [pitch, start, length] of audio ? NOTES[severity] ?? [] : []) {
    const t = audio.currentTime + start, tone = audio.createOscillator(), volume = audio.createGain();
    tone.type = "triangle";
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0, t);
    volume.gain.linearRampToValueAtTime(0.25, t + 0.01);
    volume.gain.setValueAtTime(0.25, t + length - 0.03);
    volume.gain.linearRampToValueAtTime(0, t + length);
    tone.connect(volume).connect(audio.destination);
    tone.start(t);
    tone.stop(t + length);
  }
}
