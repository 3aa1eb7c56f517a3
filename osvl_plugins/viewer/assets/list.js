/** The list: only the rows in view exist, so its length does not matter. */

const ROW_REMS = 4.5;
const SPARE_ROWS = 6;

/** A new element; text is only ever text, and attributes are never those of the data but for titles and labels. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

class List {
  constructor(box, rows, draw, choose) {
    this.box = box;
    this.rows = rows;
    this.draw = draw;
    this.choose = choose;
    this.visible = [];
    this.at = -1;
    this.height = ROW_REMS * parseFloat(getComputedStyle(document.documentElement).fontSize);
    box.addEventListener("scroll", () => this.show(), { passive: true });
    box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.show()).observe(box);
  }

  /** Shows the items `visible`, with item `open` selected where it is among them. */
  fill(visible, open) {
    this.visible = visible;
    this.at = visible.indexOf(open);
    this.rows.style.height = `${visible.length * this.height}px`;
    this.show();
  }

  /** Selects the row at place `at`, in view; none with -1. */
  select(at) {
    this.at = at;
    const top = Math.max(0, at) * this.height;
    const bottom = top + this.height - this.box.clientHeight;
    if (at >= 0) this.box.scrollTop = Math.max(bottom, Math.min(top, this.box.scrollTop));
    this.show();
  }

  show() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - SPARE_ROWS);
    const last = Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + SPARE_ROWS;
    const rows = this.visible.slice(first, last).map((item, number) => this.row(item, first + number));
    this.rows.replaceChildren(...rows);
    const active = this.at >= first && this.at < last;
    if (active) this.box.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(item, at) {
    const row = el(
      "div",
      {
        class: "row",
        role: "option",
        id: `row-${at}`,
        "aria-selected": String(at === this.at),
        "aria-posinset": at + 1,
        "aria-setsize": this.visible.length,
        click: () => this.choose(at, true),
      },
      this.draw(item),
    );
    row.style.top = `${at * this.height}px`;
    row.style.height = `${this.height}px`;
    return row;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.at >= 0) this.choose(this.at, true);
    else if (event.key in steps) this.step(steps[event.key]);
    else return;
    event.preventDefault();
  }

  step(by) {
    if (!this.visible.length) return;
    const to = this.at < 0 ? 0 : this.at + by;
    this.choose(Math.min(this.visible.length - 1, Math.max(0, to)), false);
  }
}

/** A line of the list: the question, then how it went; in a comparison, both sides. */
function drawLine(lines) {
  const shown = lines.filter((line) => line !== null);
  const question = el("span", { class: "row-question", dir: "auto" }, shown[0].question || "(no question recorded)");
  return [question, ...lines.map((line, side) => drawFacts(line, lines.length > 1 ? "AB"[side] : ""))];
}

function drawFacts(line, side) {
  const letter = side && el("b", { class: "side-letter" }, side);
  if (line === null) return el("span", { class: "row-facts" }, letter, el("span", { class: "muted" }, "not there"));
  return el(
    "span",
    { class: "row-facts" },
    letter || null,
    mark(line),
    el("span", { class: "muted" }, `${groupLabel(line.group)} · ${turnsOf(line.turns)}`),
    line.fatal !== null && el("span", { class: "badge bad" }, `fatal at ${line.fatal}`),
    line.end !== "answer" && line.end !== "fatal" && el("span", { class: "badge warn" }, plain(line.end)),
    line.answer !== null && el("span", { class: "row-answer", dir: "auto" }, line.answer),
  );
}

/** The outcome as a sign with its word, and the score. */
function mark(line) {
  const outcome = outcomeOf(line);
  if (outcome === "unknown" && line.score === null) return null;
  const sign = { right: "✓", wrong: "✗", none: "○", unscored: "?", unknown: "·" }[outcome];
  const score = line.score === null ? "" : ` ${line.score.toFixed(2)}`;
  return el(
    "span",
    { class: `mark ${outcome}`, title: OUTCOMES[outcome] },
    el("span", { "aria-hidden": "true" }, sign),
    el("span", { class: "unseen" }, OUTCOMES[outcome]),
    score,
  );
}

function turnsOf(count) {
  return count === 1 ? "1 turn" : `${count} turns`;
}
