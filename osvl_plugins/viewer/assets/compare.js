/** Two trajectories of one question, turn beside turn. */

function drawComparison(cards, lines, sources, options) {
  const shown = cards.find((card) => card !== null);
  const length = Math.max(...cards.map((card) => card?.steps.length ?? 0));
  const first = cards.includes(null) ? -1 : firstDifference(cards);
  const rows = [];
  for (let number = 0; number < length; number++) {
    if (number === first) rows.push(el("p", { class: "difference" }, "First difference"));
    rows.push(...cards.map((card, side) => drawCell(card, lines[side], number, { ...options, letter: "AB"[side] })));
  }
  return el(
    "article",
    { class: "trajectory comparison" },
    el("h2", { class: "question", dir: "auto" }, shown.question || "(no question recorded)"),
    cards.map((card, side) => drawSide(card, lines[side], sources[side], "AB"[side])),
    rows,
  );
}

function drawSide(card, line, source, letter) {
  const title = el("h3", { class: "side-title" }, el("b", { class: "side-letter" }, letter), ` ${source}`);
  if (card === null) return el("section", { class: "half" }, title, el("p", { class: "muted" }, "has no trajectory for this question"));
  return el(
    "section",
    { class: "half" },
    title,
    el("p", { class: "crumbs" }, `${groupLabel(line.group)} · ${line.name}`),
    drawVerdict(card, line),
    drawNotes(card),
    drawPictures(card),
    drawTokens(card, line),
    drawReward(card, line),
  );
}

function drawCell(card, line, number, options) {
  if (card === null || number >= card.steps.length) return el("div", { class: "half gap" });
  return el("ol", { class: "half turns" }, drawTurn(card, line, number, options));
}

/** The first turn at which calls or answers differ; -1 where none does. */
function firstDifference([one, other]) {
  const length = Math.max(one.steps.length, other.steps.length);
  for (let number = 0; number < length; number++) {
    if (deed(one.steps[number]) !== deed(other.steps[number])) return number;
  }
  return -1;
}

function deed(step) {
  return step && JSON.stringify([step.tool, step.arguments, step.answer]);
}
