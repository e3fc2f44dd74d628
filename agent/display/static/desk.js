// The loan desk on the nurse's page: its last answer, the inventory of a return, and its keys.

import { icon, make, show, write } from "./panel.js";

const find = (id) => document.getElementById(id);

// `ask(path, body, button)` sends a gesture.
export class Desk {
  constructor(ask) {
    this.ask = ask;
    this.place = find("desk");
    this.quiet = false;
    find("all-there").onclick = ({ currentTarget }) => ask("/desk/all-there", {}, currentTarget);
    find("quiet").onclick = ({ currentTarget }) => ask("/silence", { on: !this.quiet }, currentTarget);
    for (const name of ["keep", "problem"]) {
      const dialog = find(`${name}-choice`);
      find(name).onclick = () => dialog.showModal();
      dialog.querySelector(".cancel").onclick = () => dialog.close();
    }
  }

  // In a visit the sweeps have the room: the desk shows only what it has just answered.
  vitals(desk, quiet, inVisit) {
    this.quiet = Boolean(quiet);
    find("quiet").hidden = quiet === null || quiet === undefined;
    find("quiet").setAttribute("aria-pressed", String(this.quiet));
    const keys = desk && !inVisit ? desk.keys : [];
    this.place.hidden = !(desk && (desk.fresh || !inVisit));
    for (const name of ["all-there", "keep", "problem"]) find(name).hidden = !keys.includes(name.replace("-", "_"));
    const said = find("desk-said");
    said.dataset.mark = desk?.mark ?? "idle";
    show(said, [desk?.mark, desk?.text], () => (desk ? [icon(desk.mark), make("span", "", desk.text)] : []));
    find("return").hidden = !desk?.condition.length;
    if (!desk) return;
    this.lists(desk);
    this.choices("keep", "/desk/keep", desk.nights, ({ nights }) => ({ nights }));
    this.choices("problem", "/desk/problem", desk.problems, ({ which }) => ({ which }));
  }

  lists(desk) {
    const line = (mark, name, text) => {
      const item = make("li", "", icon(mark), make("span", "", name), make("span", "state", text));
      item.dataset.mark = mark;
      return item;
    };
    const { done, notDone } = this.place.dataset;
    show(find("parts"), desk.parts, () => desk.parts.map(({ mark, name, text }) => line(mark, name, text)));
    find("supplies-box").hidden = !desk.supplies.length;
    show(find("supplies"), desk.supplies, () => desk.supplies.map((supply) => this.supply(supply, line)));
    show(find("condition"), desk.condition, () =>
      desk.condition.map((code) => line(code.done ? "ok" : "idle", code.text, code.done ? done : notDone)),
    );
  }

  // Counted with two big keys; the first press begins at what there should be.
  supply({ tag, name, n, least, mark, text }, line) {
    const item = line(mark, name, text);
    const step = (by) => {
      const button = make("button", "step", by > 0 ? "+" : "\u2212");
      button.setAttribute("aria-label", `${name} : ${by > 0 ? this.place.dataset.more : this.place.dataset.fewer}`);
      button.onclick = () => this.ask("/desk/have", { which: tag, number: Math.max(0, n === null ? least : n + by) }, button);
      return button;
    };
    item.append(step(-1), make("output", "", n === null ? "\u2013" : String(n)), step(1));
    return item;
  }

  choices(name, path, list, body) {
    const dialog = find(`${name}-choice`);
    show(dialog.querySelector(".choices"), list, () =>
      list.map((choice) => {
        const button = make("button", "", choice.text);
        button.onclick = () => this.ask(path, body(choice), button).then(() => dialog.close());
        return button;
      }),
    );
  }
}
