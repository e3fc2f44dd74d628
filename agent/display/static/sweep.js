// One sweep: keeps what came, in time order, and draws 6 s of it with an erase bar.
// A chunk is {t, fs, v: Float32Array}: point i at t + i / fs seconds of the board's time, NaN where there is none.

export const WINDOW_S = 6;
const BAR_S = 0.25;
const MM = 150; // 6 s at 25 mm/s, whatever the width
const MM_PER_MV = 10;
const BREAK = 2.5; // a hole of more samples than this interrupts the line

export class Sweep {
  constructor(trace, slot, keepS) {
    this.slot = slot;
    this.keepS = keepS;
    this.grid = trace.querySelector(".grid");
    this.ink = trace.querySelector(".ink");
    this.colours = getComputedStyle(trace);
    this.chunks = [];
    this.unit = "";
    this.low = 0;
    this.high = 0;
    this.drawnTo = null;
    this.stale = true;
    new ResizeObserver(() => this.resize()).observe(trace);
    this.resize();
  }

  clear() {
    this.chunks = [];
    this.low = this.high = 0;
    this.stale = true;
  }

  get end() {
    const last = this.chunks.at(-1);
    return last ? last.t + last.v.length / last.fs : null;
  }

  // The largest magnitude since a time.
  peak(since) {
    let most = 0;
    for (let i = this.chunks.length - 1; i >= 0 && this.chunks[i].t > since; i--) {
      for (const value of this.chunks[i].v) if (Math.abs(value) > most) most = Math.abs(value);
    }
    return most;
  }

  // Take what came; it stands at its true time, and what is already there (a reconnection repeats some) stays.
  add({ t, fs, q, y }) {
    this.put(t, fs, Float32Array.from(y, (level) => (level === null ? NaN : level * q)));
    const oldest = this.end - this.keepS;
    let drop = 0;
    while (this.chunks[drop].t + this.chunks[drop].v.length / this.chunks[drop].fs < oldest) drop++;
    if (drop) this.chunks.splice(0, drop);
  }

  put(t, fs, v) {
    if (!v.length) return;
    let at = this.chunks.length;
    while (at > 0 && this.chunks[at - 1].t > t + 0.5 / fs) at--;
    const before = this.chunks[at - 1];
    const known = before ? Math.round((before.t + before.v.length / before.fs - t) * fs) : 0;
    if (known > 0) {
      this.put(t + known / fs, fs, v.subarray(known));
      return;
    }
    const after = this.chunks[at];
    const free = after ? Math.round((after.t - t) * fs) : v.length;
    this.chunks.splice(at, 0, { t, fs, v: v.subarray(0, free) });
    if (this.drawnTo !== null && t < this.drawnTo) this.stale = true; // late: fill it in
    this.put(t + free / fs, fs, v.subarray(free));
  }

  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.ink.parentElement.getBoundingClientRect();
    if (!box.width || !box.height) return;
    this.ratio = ratio;
    this.width = box.width;
    this.height = box.height;
    for (const canvas of [this.grid, this.ink]) {
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.stale = true;
    this.drawGrid();
  }

  // 5 mm squares: 0.2 s wide and, for the ECG, 0.5 mV high; a millivolt stands at the left.
  drawGrid() {
    const pen = this.grid.getContext("2d");
    const step = (5 * this.width) / MM;
    pen.clearRect(0, 0, this.width, this.height);
    pen.lineWidth = 1;
    if (this.slot !== "ecg") {
      pen.strokeStyle = this.colours.getPropertyValue("--grid");
      pen.beginPath();
      for (let i = 1; i < WINDOW_S; i++) line(pen, i * step * 5, 0, i * step * 5, this.height);
      pen.stroke();
      return;
    }
    const zero = this.zero();
    for (const strong of [false, true]) {
      pen.strokeStyle = this.colours.getPropertyValue(strong ? "--grid-strong" : "--grid");
      pen.beginPath();
      for (let i = 1; i < MM / 5; i++) if (strong === (i % 5 === 0)) line(pen, i * step, 0, i * step, this.height);
      if (!strong) for (let y = zero % step; y < this.height; y += step) line(pen, 0, y, this.width, y);
      pen.stroke();
    }
    const mv = (MM_PER_MV * this.width) / MM;
    pen.strokeStyle = this.colours.getPropertyValue("--muted");
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(2, zero);
    pen.lineTo(4, zero);
    pen.lineTo(4, zero - mv);
    pen.lineTo(4 + step * 0.6, zero - mv);
    pen.lineTo(4 + step * 0.6, zero);
    pen.lineTo(6 + step * 0.6, zero);
    pen.stroke();
  }

  zero() {
    return Math.round(this.height * 0.72);
  }

  // Where the caption lies over the trace, pleth and sound keep below it.
  top() {
    return this.height > 140 ? 34 : 8;
  }

  y(value) {
    if (this.slot === "ecg") return this.zero() - (value * MM_PER_MV * this.width) / MM;
    return this.height - 6 - ((value - this.low) / (this.high - this.low || 1)) * (this.height - 6 - this.top());
  }

  // Pleth and sound fit themselves: to what the last sweep held, and only when that no longer fits.
  fit(head) {
    if (this.slot === "ecg") return;
    let low = Infinity;
    let high = -Infinity;
    for (let i = this.chunks.length - 1; i >= 0 && this.chunks[i].t > head - WINDOW_S; i--) {
      for (const value of this.chunks[i].v) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (high < low) return;
    if (this.slot === "sound") {
      high = Math.max(Math.abs(low), Math.abs(high), this.unit === "1" ? 0.01 : 0);
      low = -high;
    }
    const span = high - low || 1e-9;
    if (low >= this.low && high <= this.high && span > 0.55 * (this.high - this.low)) return;
    this.low = low - 0.08 * span;
    this.high = high + 0.08 * span;
    this.stale = true;
  }

  // Draw up to `head`, only what changed since the last call.
  draw(head) {
    if (!this.width) return;
    this.fit(head);
    const pen = this.ink.getContext("2d");
    let from = this.drawnTo;
    if (this.stale || from === null || head < from || head - from > WINDOW_S / 2) {
      pen.clearRect(0, 0, this.width, this.height);
      from = head - WINDOW_S + BAR_S;
    }
    this.stale = false;
    this.drawnTo = head;
    for (let a = from; a < head; ) {
      const start = Math.floor(a / WINDOW_S) * WINDOW_S;
      const b = Math.min(head, start + WINDOW_S);
      this.stretch(pen, start, a, b, b === head ? BAR_S : 0);
      a = b + (b < head ? 1e-9 : 0);
    }
    const x = this.x(head, Math.floor(head / WINDOW_S) * WINDOW_S);
    const over = x + (BAR_S * this.width) / WINDOW_S - this.width;
    if (over > 0) pen.clearRect(0, 0, over, this.height);
  }

  // A still picture that ends at `head`, read from left to right.
  still(head) {
    if (!this.width) return;
    this.fit(head);
    const pen = this.ink.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    this.stretch(pen, head - WINDOW_S, head - WINDOW_S, head, 0);
    this.drawnTo = null;
    this.stale = true;
  }

  x(t, start) {
    return ((t - start) * this.width) / WINDOW_S;
  }

  stretch(pen, start, a, b, bar) {
    // Whole pixels: a clip that cuts through one leaves a faint seam.
    const left = Math.max(0, Math.floor((this.x(a, start) - 2) * this.ratio) / this.ratio);
    const right = Math.ceil(this.x(b, start) * this.ratio) / this.ratio;
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, right - left, this.height);
    pen.clearRect(left, 0, right - left + (bar * this.width) / WINDOW_S, this.height);
    pen.clip();
    pen.strokeStyle = this.colours.color;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.beginPath();
    const early = a - 0.1;
    let i = this.chunks.length;
    while (i > 0 && this.chunks[i - 1].t > early) i--;
    let last = -Infinity;
    for (i = Math.max(0, i - 1); i < this.chunks.length && this.chunks[i].t < b + 0.1; i++) {
      const { t, fs, v } = this.chunks[i];
      for (let k = Math.max(0, Math.floor((early - t) * fs)); k < v.length; k++) {
        const at = t + k / fs;
        if (at > b + 0.1) break;
        if (Number.isNaN(v[k])) continue;
        const x = this.x(at, start);
        const y = this.y(v[k]);
        if (at - last > BREAK / fs) pen.moveTo(x, y);
        else pen.lineTo(x, y);
        last = at;
      }
    }
    pen.stroke();
    pen.restore();
  }
}

function line(pen, x0, y0, x1, y1) {
  pen.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  pen.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
}
