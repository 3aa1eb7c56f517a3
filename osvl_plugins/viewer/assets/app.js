/** The page: list, filters, the open trajectory, its address, and the keys. */

const WIDE = matchMedia("(min-width: 60rem)");

const byId = (id) => document.getElementById(id);

class Page {
  constructor(index) {
    this.lines = index.lines;
    this.sources = index.sources;
    this.compares = index.pairs !== null;
    this.items = index.pairs ?? index.lines.map((_, number) => [number]);
    this.cards = new Cards(index.counts);
    this.texts = new Texts(this.cards, this.lines);
    this.form = byId("filters");
    this.detail = byId("detail");
    this.filter = new Filter(this.form, this.lines, this.items, this.texts);
    this.list = new List(byId("list"), byId("rows"), (item) => drawLine(this.linesOf(item)), (at, enter) => this.choose(at, enter));
    this.thoughts = true;
    this.item = -1;
    this.turn = -1;
    this.itemOf = new Map();
    this.items.forEach((item, at) => item.forEach((number) => number !== null && this.itemOf.set(this.lines[number].id, at)));
    byId("change").hidden = !this.compares;
    byId("filter-box").open = WIDE.matches;
    this.listen();
    this.refilter();
    this.follow();
  }

  listen() {
    this.form.addEventListener("input", () => this.refilter());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    // The form still has its old values while it is being reset.
    this.form.addEventListener("reset", () => setTimeout(() => this.refilter()));
    byId("same-off").addEventListener("click", () => this.showSame(null));
    byId("keys-button").addEventListener("click", () => byId("keys").showModal());
    addEventListener("hashchange", () => this.follow());
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("beforeprint", () => this.detail.querySelectorAll("details").forEach((node) => (node.open = true)));
    byId("search").addEventListener("focus", () => this.readTexts(), { once: true });
  }

  linesOf(item) {
    return this.items[item].map((number) => (number === null ? null : this.lines[number]));
  }

  readTexts() {
    const bar = byId("progress");
    bar.hidden = false;
    this.texts.read(() => {
      bar.value = this.texts.share;
      bar.hidden = bar.value === 1;
      if (byId("search").value.trim()) this.refilter();
    });
  }

  refilter() {
    if (byId("search").value.trim()) this.readTexts();
    const visible = this.filter.apply();
    this.list.fill(visible, this.item);
    const all = this.items.length;
    const word = this.compares ? "pairs" : "";
    byId("count").textContent = `${visible.length === all ? all : `${visible.length} of ${all}`} ${word}`;
    byId("filter-count").textContent = this.filter.count ? `(${this.filter.count})` : "";
    this.drawPosition();
  }

  /** Only the samples of one question, or all with null. */
  showSame(prompt) {
    this.filter.prompt = prompt;
    byId("same").hidden = prompt === null;
    this.refilter();
    this.list.select(Math.max(0, this.list.at));
  }

  /** Opens the item at place `at` of the list; `enter` when the reader goes to it. */
  choose(at, enter) {
    const item = this.list.visible[at];
    this.list.select(at);
    this.open(item, -1, enter);
  }

  /** Shows `item` at `turn`, and puts both into the address. */
  open(item, turn, enter) {
    const line = this.linesOf(item).find((one) => one !== null);
    const address = `#${encodeURIComponent(line.id)}${turn >= 0 ? `/${turn}` : ""}`;
    const isNew = enter && !WIDE.matches && !document.body.classList.contains("reads");
    history[isNew ? "pushState" : "replaceState"](null, "", address);
    this.show(item, turn, enter);
  }

  /** Shows what the address names. */
  follow() {
    const [id, turn] = location.hash.slice(1).split("/");
    let item;
    try {
      item = this.itemOf.get(decodeURIComponent(id));
    } catch {
      item = undefined; // an address that was cut short
    }
    if (item === undefined) {
      document.body.classList.remove("reads");
      if (WIDE.matches && this.item < 0) {
        this.list.select(0);
        this.show(0, -1, false);
      }
      return;
    }
    this.list.select(this.list.visible.indexOf(item));
    this.show(item, /^\d+$/.test(turn ?? "") ? Number(turn) : -1, true);
  }

  async show(item, turn, enter) {
    const isOpen = this.item === item;
    this.item = item;
    this.turn = turn;
    if (enter || !WIDE.matches) document.body.classList.add("reads");
    if (!isOpen) {
      const cards = await Promise.all(this.items[item].map((number) => (number === null ? null : this.cards.get(number))));
      if (this.item !== item) return; // the reader has gone on
      this.draw(item, cards);
    }
    if (enter) this.detail.focus({ preventScroll: true });
    this.goTo(turn);
  }

  draw(item, cards) {
    const lines = this.linesOf(item);
    const options = { thoughts: this.thoughts, letter: "" };
    const content = this.compares
      ? drawComparison(cards, lines, this.sources, options)
      : drawTrajectory(cards[0], lines[0], options);
    this.detail.replaceChildren(this.toolbar(lines), content);
    this.detail.scrollTop = 0;
    scrollTo(0, 0);
    this.drawPosition();
  }

  toolbar(lines) {
    const button = (text, label, click) => el("button", { type: "button", "aria-label": label, title: label, click }, text);
    const line = lines.find((one) => one !== null);
    const samples = this.compares ? 0 : this.lines.filter((one) => one.prompt === line.prompt).length;
    return el(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Trajectory" },
      el("button", { type: "button", class: "back", "aria-label": "Back to the list (Esc)", click: () => this.back() }, "‹"),
      button("↑", "Previous trajectory (k)", () => this.list.step(-1)),
      button("↓", "Next trajectory (j)", () => this.list.step(1)),
      el("output", { id: "position", class: "muted", "aria-live": "polite" }),
      el("span", { class: "spread" }),
      lines.some((one) => one !== null && one.fatal !== null) && button("Fatal", "To the fatal step (f)", () => this.goToFatal()),
      samples > 1 && button(`${samples} samples`, "All samples of this question", () => this.showSame(line.prompt)),
      el("button", { type: "button", id: "thoughts", "aria-pressed": String(this.thoughts), click: () => this.toggleThoughts() }, "Thoughts"),
    );
  }

  drawPosition() {
    const node = byId("position");
    if (node) node.textContent = this.list.at < 0 ? "not in the list" : `${this.list.at + 1} / ${this.list.visible.length}`;
  }

  toggleThoughts() {
    this.thoughts = !this.thoughts;
    byId("thoughts")?.setAttribute("aria-pressed", String(this.thoughts));
    for (const node of this.detail.querySelectorAll(".thought")) node.open = this.thoughts;
  }

  goTo(turn) {
    const node = turn >= 0 && this.detail.querySelector(`[data-turn="${turn}"]`);
    if (!node) return;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "start" });
  }

  stepTurn(by) {
    if (this.item < 0) return;
    const last = Math.max(...this.linesOf(this.item).map((line) => line?.turns ?? 0)) - 1;
    this.open(this.item, Math.min(last, Math.max(0, this.turn + by)), false);
  }

  goToFatal() {
    const line = this.item >= 0 && this.linesOf(this.item).find((one) => one !== null && one.fatal !== null);
    if (line) this.open(this.item, Math.min(line.fatal, line.turns - 1), false);
  }

  back() {
    document.body.classList.remove("reads");
    byId("list").focus();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    const typing = event.target.matches("input, select, textarea");
    if (typing && event.key !== "Escape") return;
    const deeds = {
      j: () => this.list.step(1),
      k: () => this.list.step(-1),
      ArrowRight: () => this.stepTurn(1),
      ArrowLeft: () => this.stepTurn(-1),
      f: () => this.goToFatal(),
      t: () => this.toggleThoughts(),
      "/": () => {
        document.body.classList.remove("reads");
        byId("search").focus();
      },
      "?": () => byId("keys").showModal(),
      Escape: () => this.back(),
    };
    if (!Object.hasOwn(deeds, event.key)) return;
    deeds[event.key]();
    event.preventDefault();
  }
}

unpack("index").then((index) => new Page(index));
