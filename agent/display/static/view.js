// What both pages do: three sweeps, numbers, freezing and looking back.

import { Live } from "./live.js";
import { blank, captions, icon, marked, notices, numbers, quality, tiles, write } from "./panel.js";
import { Sweep, WINDOW_S } from "./sweep.js";

const FRAME_MS = 33;
const CALM_FRAME_MS = 500;
const STEP_S = 3;
const SLOTS = ["ecg", "pleth", "sound"];

export class View {
  constructor(more = {}) {
    this.page = document.getElementById("page");
    this.words = document.body.dataset;
    this.more = more;
    this.rows = Object.fromEntries(SLOTS.map((slot) => [slot, document.querySelector(`.row[data-slot="${slot}"]`)]));
    const keep = Number(this.words.keep);
    this.sweeps = Object.fromEntries(SLOTS.map((slot) => [slot, new Sweep(this.rows[slot].querySelector(".trace"), slot, keep)]));
    this.byStream = {};
    this.delay = Number(this.words.delay);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.drawnAt = 0;
    this.frozenAt = null;
    this.freezing();
    this.live = new Live("/live", {
      birth: (message) => this.birth(message),
      wave: (message) => this.byStream[message.stream]?.add(message),
      vitals: (message) => this.vitals(message),
      lost: (lost) => this.lose(lost),
      closed: () => this.more.closed?.(),
    });
    requestAnimationFrame((at) => this.frame(at));
  }

  birth(message) {
    if (this.life !== message.base) this.live.restart();
    if (this.life !== message.base || this.epoch !== message.epoch) {
      for (const slot of SLOTS) this.sweeps[slot].clear();
      this.freeze(null);
    }
    this.life = message.base;
    this.epoch = message.epoch;
    this.byStream = {};
    for (const slot of SLOTS) {
      const stream = message.streams[slot];
      captions(this.rows[slot], stream);
      if (stream) {
        if (this.sweeps[slot].name !== stream.name) this.sweeps[slot].clear();
        this.sweeps[slot].name = stream.name;
        this.sweeps[slot].unit = stream.unit;
        this.byStream[stream.name] = this.sweeps[slot];
      }
    }
  }

  vitals(message) {
    this.last = message;
    numbers(message.numbers);
    tiles(message.tiles);
    notices(message.notices);
    for (const slot of SLOTS) quality(this.rows[slot], message.quality[slot]);
    const link = [{ mark: message.link.mark, text: message.link.text }];
    if (message.link.watched) link.push({ mark: "ok", name: "eye", text: message.link.watched });
    marked(document.getElementById("link"), link);
    marked(document.getElementById("battery"), message.battery ? [{ ...message.battery, name: "battery" }] : []);
    write(document.getElementById("clock"), message.clock);
    document.getElementById("mic").hidden = !message.sound.listening;
    document.getElementById("camera").hidden = !message.camera;
    const code = document.getElementById("code");
    code.hidden = !message.visit.code;
    write(code.lastElementChild, message.visit.code ?? "");
    this.signs(message);
    const desk = message.desk?.fresh ? message.desk.text : "";
    this.say([desk, message.visit.text, ...link.map(({ text }) => text), ...message.notices.map(({ text }) => text)]);
    this.more.vitals?.(message);
  }

  // An empty sweep says that it is empty; an open microphone shows its level, -60 to 0 dB of full scale.
  signs(message) {
    const head = this.head() ?? 0;
    for (const slot of SLOTS) {
      const end = this.sweeps[slot].end;
      this.rows[slot].querySelector(".none-yet").hidden = end !== null && end > head - WINDOW_S;
    }
    write(this.rows.sound.querySelector(".none-yet"), message.sound.empty);
    const level = document.getElementById("level");
    level.hidden = !message.sound.listening;
    const peak = this.sweeps.sound.peak(head - 0.5);
    const decibels = peak > 0 ? 20 * Math.log10(peak) : -60;
    level.querySelector("b").style.transform = `scaleX(${Math.min(1, Math.max(0, 1 + decibels / 60)).toFixed(3)})`;
  }

  // For a screen reader: states, not the seconds that count inside them.
  say(texts) {
    const steady = texts.filter(Boolean).join(". ");
    if (steady.replace(/\d+/g, "") === this.said) return;
    this.said = steady.replace(/\d+/g, "");
    write(document.getElementById("status"), steady);
  }

  lose(lost) {
    this.page.classList.toggle("lost", lost);
    if (!lost) return;
    blank(this.words.none, this.words.lost);
    marked(document.getElementById("link"), [{ mark: "bad", text: this.words.lost }]);
    notices([{ mark: "bad", text: this.words.lost }]);
    this.said = null;
    write(document.getElementById("status"), this.words.lost);
  }

  freezing() {
    this.button = document.getElementById("freeze");
    this.button.onclick = () => this.freeze(this.frozenAt === null ? this.head() : null);
    document.getElementById("earlier").onclick = () => this.look(-STEP_S);
    document.getElementById("later").onclick = () => this.look(STEP_S);
  }

  head() {
    const now = this.live.now();
    return now === null ? null : now - this.delay;
  }

  freeze(at) {
    this.frozenAt = this.frozenFrom = at;
    const still = at !== null;
    this.button.setAttribute("aria-pressed", String(still));
    this.button.replaceChildren(icon(still ? "play" : "pause"), still ? this.words.unfreeze : this.words.freeze);
    document.getElementById("review").hidden = !still;
    if (still) this.look(0);
  }

  look(step) {
    const oldest = Math.min(...SLOTS.map((slot) => this.sweeps[slot].chunks[0]?.t ?? Infinity));
    const first = Math.min(this.frozenFrom, oldest + STEP_S); // always something to see
    this.frozenAt = Math.max(first, Math.min(this.frozenFrom, this.frozenAt + step));
    write(document.getElementById("when"), this.when(this.frozenAt));
    this.still = false;
  }

  when(at) {
    if (this.last?.day_s === null || this.last === undefined) return this.words.frozen;
    const second = Math.floor(this.last.day_s + at - this.last.now + 86400) % 86400;
    const two = (value) => String(Math.floor(value)).padStart(2, "0");
    return this.words.frozenAt.replace("{time}", `${two(second / 3600)}:${two((second / 60) % 60)}:${two(second % 60)}`);
  }

  frame(at) {
    requestAnimationFrame((next) => this.frame(next));
    if (at - this.drawnAt < (this.calm.matches ? CALM_FRAME_MS : FRAME_MS) - 4) return;
    this.drawnAt = at;
    if (this.frozenAt !== null) {
      if (!this.still) for (const slot of SLOTS) this.sweeps[slot].still(this.frozenAt);
      this.still = true;
      return;
    }
    const head = this.head();
    if (head === null || this.live.lost) return;
    for (const slot of SLOTS) this.sweeps[slot].draw(head);
  }
}
