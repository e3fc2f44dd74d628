// The doctor's page: the shared view, the stethoscope in the headphones; when the visit is over nothing stays believed.

import { Hearing } from "./hear.js";
import { icon, write } from "./panel.js";
import { View } from "./view.js";

const words = document.body.dataset;
const hear = document.getElementById("hear");
const treated = document.getElementById("treated");
const heard = document.getElementById("heard");
let saidAt = 0;

const view = new View({
  vitals({ holder }) {
    const place = document.getElementById("holder");
    place.hidden = !holder;
    write(place.lastElementChild, holder ?? "");
  },
  closed() {
    words.lost = words.closed;
    hearing.stop();
    view.lose(true);
  },
});

const hearing = new Hearing((state, at) => {
  const now = performance.now();
  if (state === "playing" && now - saidAt < 500) return;
  saidAt = now;
  if (state === "failed") show();
  if (state !== "playing") return write(heard, state === "failed" ? words.hearFailed : words.hearWaiting);
  const lag = Math.max(0, view.live.now() - at);
  heard.dataset.lag = lag.toFixed(3);
  const mode = hearing.mode === "raw" ? words.hearRaw : words.hearTreated;
  write(heard, words.hearLag.replace("{mode}", mode).replace("{seconds}", lag.toFixed(1).replace(".", ",")));
});

function show() {
  hear.setAttribute("aria-pressed", String(hearing.on));
  hear.replaceChildren(icon(hearing.on ? "stop" : "phones"), hearing.on ? words.hearStop : words.hear);
  treated.setAttribute("aria-pressed", String(hearing.mode === "treated"));
  if (!hearing.on) write(heard, "");
}

hear.onclick = () => {
  if (hearing.on) hearing.stop();
  else hearing.start();
  show();
};
treated.onclick = () => {
  hearing.choose(hearing.mode === "raw" ? "treated" : "raw");
  show();
};
