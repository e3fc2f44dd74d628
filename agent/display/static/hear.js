// The stethoscope in the doctor's headphones: raw unless treated is asked for, which is then always said.

const HEADER = 16;

export class Hearing {
  // said(state, at): state is "waiting", "playing" or "failed"; `at` is the board's time of what is heard now.
  constructor(said) {
    this.said = said;
    this.mode = "raw";
  }

  get on() {
    return Boolean(this.context);
  }

  async start() {
    const context = (this.context = new AudioContext({ latencyHint: "interactive" }));
    try {
      await context.audioWorklet.addModule("/static/hear-worklet.js");
      if (this.context !== context) return; // stopped meanwhile
      this.player = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
      this.player.port.onmessage = ({ data }) => this.said("playing", data - (context.outputLatency || context.baseLatency || 0));
      // What interpolation leaves above the sound's own band is taken out.
      const smooth = [0, 1].map(() => new BiquadFilterNode(context, { type: "lowpass", frequency: 1800, Q: 0.707 }));
      this.player.connect(smooth[0]).connect(smooth[1]).connect(context.destination);
      await context.resume();
      this.said("waiting");
      await this.pull();
    } catch (error) {
      if (this.context === context) {
        this.stop();
        this.said("failed");
        console.warn(error);
      }
    }
  }

  stop() {
    this.context?.close();
    this.context = null;
    this.fetching?.abort();
  }

  async choose(mode) {
    this.mode = mode;
    this.fetching?.abort(); // pull() goes on with the other sound
  }

  // Read the stream until stopped; begin again when it breaks or another mode is chosen.
  async pull() {
    const context = this.context;
    while (this.context === context) {
      this.fetching = new AbortController();
      try {
        const answer = await fetch(`/sound?mode=${this.mode}`, { signal: this.fetching.signal });
        if (answer.status === 401) throw new Error("session over");
        if (answer.ok) await this.read(answer.body.getReader());
      } catch (error) {
        if (error.name !== "AbortError" && error.name !== "TypeError") throw error;
      }
      if (this.context === context) await new Promise((done) => setTimeout(done, 250));
    }
  }

  async read(reader) {
    let rest = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const data = new Uint8Array(rest.length + value.length);
      data.set(rest);
      data.set(value, rest.length);
      let at = 0;
      while (data.length - at >= HEADER) {
        const view = new DataView(data.buffer, at);
        const n = view.getUint32(12, true);
        if (data.length - at < HEADER + 2 * n) break;
        const samples = new Float32Array(n);
        for (let i = 0; i < n; i++) samples[i] = view.getInt16(HEADER + 2 * i, true) / 32768;
        this.player.port.postMessage({ t: view.getFloat64(0, true), fs: view.getFloat32(8, true), samples }, [samples.buffer]);
        at += HEADER + 2 * n;
      }
      rest = data.slice(at);
    }
  }
}
