/** The form above the list: which trajectories are in it. */

const OUTCOMES = { right: "right", wrong: "wrong", none: "no answer", unscored: "not scored", unknown: "not judged" };

/** What became of the answer, as the reward sees it. */
function outcomeOf(line) {
  if (line.unscored) return "unscored";
  if (line.accuracy !== null && line.accuracy >= 0.5) return "right";
  if (line.answer === null) return "none";
  return line.accuracy === null ? "unknown" : "wrong";
}

class Filter {
  constructor(form, lines, items, texts) {
    this.form = form;
    this.lines = lines;
    this.items = items;
    this.texts = texts;
    this.prompt = null;
    this.offer("group", lines.map((line) => [line.group]), groupLabel);
    this.offer("end", lines.map((line) => [line.end]), plain);
    this.offer("outcome", lines.map((line) => [outcomeOf(line)]), (value) => OUTCOMES[value]);
    this.offer("tool", lines.map((line) => line.tools), plain);
    this.offer("kind", lines.map((line) => line.kinds), plain);
  }

  /** The values that occur, most natural first, each with the number of trajectories that have it. */
  offer(name, values, label) {
    const counts = new Map();
    for (const value of values.flat()) counts.set(value, (counts.get(value) ?? 0) + 1);
    const order = [...counts].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const options = order.map(([value, count]) => el("option", { value: `=${value}` }, `${label(value)} (${count})`));
    this.form.elements[name].append(...options);
  }

  /** Numbers of the items that pass, in order. */
  apply() {
    const chosen = Object.fromEntries(new FormData(this.form));
    const words = chosen.search.toLowerCase().split(/\s+/).filter(Boolean);
    const low = chosen.low === "" ? -Infinity : Number(chosen.low);
    const high = chosen.high === "" ? Infinity : Number(chosen.high);
    const scored = low > -Infinity || high < Infinity;
    const passes = (number) => {
      const line = this.lines[number];
      return (
        (this.prompt === null || line.prompt === this.prompt) &&
        is(chosen.group, line.group) &&
        is(chosen.end, line.end) &&
        (chosen.fatal === "" || (chosen.fatal === "yes") === (line.fatal !== null)) &&
        is(chosen.outcome, outcomeOf(line)) &&
        (chosen.tool === "" || line.tools.some((tool) => is(chosen.tool, tool))) &&
        hasKind(chosen.kind, line.kinds) &&
        (!scored || (line.score !== null && line.score >= low && line.score <= high)) &&
        (words.length === 0 || this.texts.has(number, words))
      );
    };
    const visible = [];
    this.items.forEach((item, at) => {
      if (item.some((number) => number !== null && passes(number)) && changed(chosen.change, this.lines, item)) visible.push(at);
    });
    return visible;
  }

  get count() {
    const names = ["group", "end", "fatal", "outcome", "tool", "kind", "low", "high", "change"];
    return names.filter((name) => this.form.elements[name].value !== "").length;
  }
}

/** Whether `value` is what an option, written with = before it, stands for; an empty option stands for all. */
function is(option, value) {
  return option === "" || option === `=${value}`;
}

function hasKind(option, kinds) {
  if (option === "any" || option === "none") return (option === "any") === kinds.length > 0;
  return option === "" || kinds.some((kind) => is(option, kind));
}

function changed(option, lines, [one, other]) {
  if (!option) return true;
  if (one === null || other === null) return option === "alone";
  const difference = (lines[other].score ?? NaN) - (lines[one].score ?? NaN);
  return { up: difference > 0, down: difference < 0, same: difference === 0, alone: false }[option];
}

function groupLabel(group) {
  return /^\d+$/.test(group) ? `step ${group}` : group;
}

function plain(value) {
  return value.replaceAll("_", " ");
}
