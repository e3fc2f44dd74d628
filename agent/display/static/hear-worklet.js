// Plays what comes, a constant little behind: a ring of samples, read at the sound's own rate by interpolation.

const SECONDS = 4;
const TARGET_S = 0.16; // begins to play with this much in hand
const MOST_S = 0.36; // more than this in hand is lag: skip to the target

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.fs = 0;
    this.playing = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take({ fs, t, samples }) {
    if (fs !== this.fs) {
      this.fs = fs;
      this.ring = new Float32Array(Math.ceil(SECONDS * fs));
      this.written = 0;
      this.read = 0;
      this.playing = false;
    }
    for (let i = 0; i < samples.length; i++) this.ring[(this.written + i) % this.ring.length] = samples[i];
    this.written += samples.length;
    this.endsAt = t + samples.length / fs;
    if (this.written - this.read > MOST_S * fs) this.read = this.written - TARGET_S * fs;
  }

  process(_, [[out]]) {
    const inHand = () => this.written - this.read;
    if (this.fs && !this.playing && inHand() >= TARGET_S * this.fs) this.playing = true;
    if (!this.playing) return true;
    const step = this.fs / sampleRate;
    for (let i = 0; i < out.length; i++) {
      if (inHand() < 2) {
        this.playing = false; // ran dry: silence until there is enough again
        break;
      }
      const at = Math.floor(this.read);
      const part = this.read - at;
      const a = this.ring[at % this.ring.length];
      const b = this.ring[(at + 1) % this.ring.length];
      out[i] = a + (b - a) * part;
      this.read += step;
    }
    if ((this.count = ((this.count ?? 0) + 1) % 64) === 0) this.port.postMessage(this.endsAt - inHand() / this.fs);
    return true;
  }
}

registerProcessor("player", Player);
