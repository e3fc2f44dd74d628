// The nurse's page: the shared view, and what a gloved finger may do.

import { Desk } from "./desk.js";
import { icon, write } from "./panel.js";
import { View } from "./view.js";

const HOLD_MS = 2000;
const ARMED_MS = 5000;
const words = document.body.dataset;
const begin = document.getElementById("begin");
const end = document.getElementById("end");
const listen = document.getElementById("listen");
const site = document.getElementById("site");
const outside = document.getElementById("outside");
let listening = false;

async function ask(path, body, button) {
  button.disabled = true;
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(8000),
    });
    if (!answer.ok) tell(words.refused);
  } catch {
    tell(words.refused);
  } finally {
    button.disabled = false;
  }
}

function tell(text) {
  const place = document.getElementById("said");
  write(place, text);
  write(document.getElementById("status"), text);
  tell.until = performance.now() + ARMED_MS;
}

const desk = new Desk(ask);

new View({
  vitals(message) {
    desk.vitals(message.desk, message.quiet, message.visit.state === "visit");
    const open = message.visit.state === "visit";
    begin.hidden = open || message.visit.state === "closing";
    end.hidden = !open;
    outside.hidden = Boolean(message.visit.code);
    write(outside, message.visit.text);
    if (!(performance.now() < tell.until)) write(document.getElementById("said"), message.visit.outside);
    if (listening !== message.sound.listening || !listen.dataset.known) {
      listening = message.sound.listening;
      listen.dataset.known = "1";
      listen.setAttribute("aria-pressed", String(listening));
      listen.replaceChildren(icon(listening ? "stop" : "mic"), listening ? words.listenOff : words.listenOn);
      site.parentElement.hidden = !listening;
    }
    if (document.activeElement !== site) site.value = message.sound.site ?? "";
  },
});

begin.onclick = () => ask("/visit/new", {}, begin);
site.onchange = () => {
  if (site.value) ask("/site", { site: site.value }, site);
  site.blur();
};
listen.onclick = () => ask("/listen", { on: !listening }, listen);

// Terminer: held for 2 s, because gloves double-tap. Space and Enter may be held too. An assistive tool, which can
// only click, presses twice.
let timer = null;
let armedAt = -ARMED_MS;
let ended = false;

function press(event) {
  if (event.type === "keydown" && (event.repeat || (event.key !== " " && event.key !== "Enter"))) return;
  event.preventDefault();
  ended = false;
  end.classList.add("held");
  clearTimeout(timer);
  timer = setTimeout(() => {
    ended = true;
    release();
    ask("/visit/end", {}, end);
  }, HOLD_MS);
}

function release() {
  if (timer === null) return;
  clearTimeout(timer);
  timer = null;
  end.classList.remove("held");
  if (!ended) tell(words.holdLonger);
}

end.addEventListener("pointerdown", (event) => {
  end.setPointerCapture(event.pointerId);
  press(event);
});
for (const type of ["pointerup", "pointercancel", "keyup", "blur"]) end.addEventListener(type, release);
end.addEventListener("keydown", press);
end.addEventListener("contextmenu", (event) => event.preventDefault());
end.addEventListener("click", (event) => {
  if (event.pointerType || event.detail !== 0) return; // a finger or a mouse: only holding counts
  if (performance.now() - armedAt < ARMED_MS) ask("/visit/end", {}, end);
  else {
    armedAt = performance.now();
    tell(words.pressAgain);
  }
});
