// Numbers, tiles and the bag's own line: the server's words put in their places, touched only where they changed.

const FIRST = new Set(["hr", "spo2"]);
const SMALL = new Set(["pi", "rr", "glucose", "weight"]);
const ROW = { hr: "ecg", rr: "ecg", spo2: "pleth", pr: "pleth", pi: "pleth", temp: "sound", bp: "sound", glucose: "sound", weight: "sound" };

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Replace an element's content only when what it shows differs.
export function show(element, key, build) {
  const wanted = JSON.stringify(key);
  if (element.dataset.shown === wanted) return;
  element.dataset.shown = wanted;
  element.replaceChildren(...build());
}

export function numbers(list) {
  const present = new Set();
  const reasons = {}; // said once per panel
  for (const number of list) {
    present.add(number.id);
    const row = document.querySelector(`.row[data-slot="${ROW[number.id]}"] .values`);
    let element = row.querySelector(`[data-id="${number.id}"]`);
    if (!element) {
      element = make("div", "number", make("p", "label"), make("p", "value", make("span", "text"), make("span", "unit")), make("p", "note"));
      element.dataset.id = number.id;
      element.classList.toggle("first", FIRST.has(number.id));
      element.classList.toggle("small", SMALL.has(number.id));
      row.append(element);
    }
    element.dataset.state = number.state;
    element.classList.toggle("never", number.state === "none" && number.quiet);
    element.classList.toggle("same", number.state === "none" && number.reason === reasons[ROW[number.id]]);
    if (number.state === "none" && FIRST.has(number.id)) reasons[ROW[number.id]] = number.reason;
    const [label, value, note] = element.children;
    write(label, number.label);
    write(value.children[0], number.text);
    write(value.children[1], number.unit);
    const text = number.state === "none" ? number.reason : number.note;
    note.dataset.mark = number.mark;
    show(note, [number.state, number.mark, text], () => {
      const mark = number.state === "none" ? (number.quiet ? "" : "todo") : number.state === "old" ? "old" : number.mark;
      return text ? (mark ? [icon(mark), ` ${text}`] : [text]) : [];
    });
  }
  for (const element of document.querySelectorAll(".number")) if (!present.has(element.dataset.id)) element.remove();
}

// Nothing can be believed: every number goes, with the reason.
export function blank(dashes, reason) {
  for (const element of document.querySelectorAll(".number")) {
    const [, value, note] = element.children;
    element.dataset.state = "none";
    write(value.children[0], dashes);
    write(value.children[1], "");
    show(note, ["lost", reason], () => [reason]);
  }
}

export function tiles(list) {
  const place = document.getElementById("tiles");
  list.forEach((tile, at) => {
    let element = place.children[at];
    if (!element) {
      element = make("article", "tile");
      place.append(element);
    }
    element.dataset.mark = tile.mark;
    show(element, tile, () => {
      const word = make("span", "hush", tile.word);
      const head = make("h3", "", make("span", "mark", icon(tile.mark)), word, make("span", "", tile.name));
      return [head, make("p", "", tile.text), tile.tip ? make("p", "tip", tile.tip) : "", tile.flag ? make("p", "flag", tile.flag) : ""];
    });
  });
  while (place.children.length > list.length) place.lastChild.remove();
}

export function marked(element, parts) {
  show(element, parts, () =>
    parts.map(({ mark, text, name }) => {
      const span = make("span", "", ...(name || mark ? [icon(name || mark)] : []), text);
      span.dataset.mark = mark;
      return span;
    }),
  );
}

export function notices(list) {
  show(document.getElementById("notices"), list, () =>
    list.map(({ mark, text }) => {
      const item = make("li", "", icon(mark), text);
      item.dataset.mark = mark;
      return item;
    }),
  );
}

export function captions(row, stream) {
  const [title, about, warning] = row.querySelector(".sweep header").children;
  if (stream) write(title, stream.title);
  show(about, stream?.about ?? [], () => (stream?.about ?? []).map((text) => make("li", "", text)));
  write(warning, stream?.warning ?? "");
}

export function quality(row, chip) {
  const element = row.querySelector(".quality");
  element.dataset.mark = chip?.mark ?? "";
  show(element, chip, () => (chip ? [icon(chip.mark), chip.text] : []));
}
