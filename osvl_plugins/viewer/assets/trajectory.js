/** One trajectory: what was asked, how it went, its pictures, and its turns. */

const LONG = 1500;

/** `card` and `line` of the trajectory; `letter` is its side in a comparison, or "". */
function drawTrajectory(card, line, options) {
  return el(
    "article",
    { class: "trajectory" },
    el("p", { class: "crumbs" }, `${groupLabel(line.group)} · ${line.name}`, el("span", null, card.file)),
    el("h2", { class: "question", dir: "auto" }, card.question || "(no question recorded)"),
    drawVerdict(card, line),
    drawNotes(card),
    drawPictures(card),
    drawTokens(card, line),
    drawReward(card, line),
    card.found && el("details", { class: "found" }, el("summary", null, "Found before the first turn"), textOf(card.found)),
    el("ol", { class: "turns" }, card.steps.map((step, number) => drawTurn(card, line, number, options))),
    line.fatal === card.steps.length && el("p", { class: "fatal-line" }, "Fatal after the last turn"),
  );
}

function drawVerdict(card, line) {
  const answer = card.steps.at(-1)?.answer ?? null;
  return el(
    "dl",
    { class: "verdict" },
    el("dt", null, "Answer"),
    el("dd", null, mark(line), " ", answer === null ? el("span", { class: "muted" }, `none: ${plain(line.end)}`) : textOf(answer)),
    card.accepted.length > 0 && [el("dt", null, "Accepted"), el("dd", null, textOf(card.accepted.join(" · ")))],
    card.reason && [el("dt", null, "Judge"), el("dd", null, textOf(card.reason))],
  );
}

function drawNotes(card) {
  return [
    card.failure !== null && el("p", { class: "note" }, el("b", null, "Failed outside the policy: "), card.failure),
    card.unscored && el("p", { class: "note" }, el("b", null, "Not scored: "), card.unscored),
  ];
}

function drawPictures(card) {
  if (card.pictures.length === 0) return null;
  const pictures = card.pictures.map((picture) => drawPicture(picture, picture.boxes, false));
  return el("section", { class: "pictures", "aria-label": "Pictures" }, pictures);
}

/** The tokens after the prompt as a strip: a piece for each turn, as wide as its tokens, what was read in between. */
function drawTokens(card, line) {
  const known = card.steps.filter((step) => step.tokens !== null);
  const sampled = known.reduce((sum, step) => sum + step.tokens, 0);
  const trained = known.reduce((sum, step) => sum + (step.trains ? step.tokens : 0), 0);
  const seconds = card.steps.reduce((sum, step) => sum + (step.seconds ?? 0), 0);
  const trains = card.steps.some((step) => step.trains !== null);
  const facts = [
    `end: ${plain(line.end)}`,
    turnsOf(line.turns),
    line.fatal !== null && `fatal at turn ${line.fatal}`,
    known.length > 0 && `${sampled} tokens sampled${trains ? `, ${trained} train` : ""}`,
    card.kind !== "sft" && `${duration(seconds)} in tools`,
  ];
  const strip = el("div", { class: "strip", role: "img", "aria-label": facts.filter(Boolean).join(", ") });
  let read = 0;
  card.steps.forEach((step, number) => {
    if (step.tokens === null) return;
    strip.append(piece("read", step.start - read, ""), piece(trainClass(step), step.tokens, `turn ${number}`));
    read = step.start + step.tokens;
  });
  return el(
    "section",
    { class: "facts" },
    el("ul", null, facts.filter(Boolean).map((fact) => el("li", null, fact))),
    known.length > 0 && strip,
  );
}

function piece(kind, tokens, title) {
  const node = el("span", { class: kind, title: title && `${title}: ${tokens} tokens` });
  node.style.flexGrow = Math.max(0, tokens);
  return node;
}

function drawReward(card) {
  if (card.parts.length === 0) return null;
  const rows = card.parts.map(([name, value]) => {
    const bar = el("span", { class: "bar" }, el("span"));
    bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
    return el("div", null, el("dt", null, name), el("dd", null, bar, value.toFixed(3)));
  });
  return el("section", { "aria-label": "Reward" }, el("dl", { class: "reward" }, rows));
}

function drawTurn(card, line, number, options) {
  const step = card.steps[number];
  const { thought, rest } = spoken(step);
  return el(
    "li",
    {
      class: `turn ${trainClass(step)}${step.error !== null ? " error" : ""}`,
      tabindex: -1,
      "data-turn": number,
      "aria-label": `Turn ${number}`,
    },
    line.fatal === number && el("p", { class: "fatal-line" }, "Fatal step"),
    drawTurnHead(card, step, number, options.letter),
    thought && el("details", { class: "thought", open: options.thoughts }, el("summary", null, "Thought"), textOf(thought)),
    step.tool !== null && step.arguments.length > 0 && drawArguments(step),
    step.answer !== null && el("div", { class: "answer" }, textOf(step.answer)),
    rest && el("div", { class: "written" }, textOf(rest)),
    step.observation && el("div", { class: "observation" }, textOf(step.observation)),
    drawTurnPictures(card, step, number),
    step.pages.length > 0 && el("p", { class: "pages" }, "Pages: ", step.pages.join(", ")),
  );
}

function drawTurnHead(card, step, number, letter) {
  const slowest = Math.max(...card.steps.map((one) => one.seconds ?? 0));
  const title = step.tool ?? (step.answer !== null ? "answer" : "neither call nor answer");
  const time = step.seconds !== null && el("span", { class: "time" }, el("span", { class: "bar" }, el("span")), duration(step.seconds));
  if (time) time.firstChild.firstChild.style.width = `${slowest > 0 ? (100 * step.seconds) / slowest : 0}%`;
  const trains = step.trains === null ? "" : step.trains ? "trains" : "masked";
  const tokens = step.tokens === null ? trains : `${step.tokens} tokens${trains && `, ${trains}`}`;
  return el(
    "header",
    null,
    letter && el("b", { class: "side-letter" }, letter),
    el("h3", null, el("span", { class: "number" }, number), " ", el("span", { class: step.tool !== null ? "tool" : "" }, title)),
    step.backend && el("span", { title: "what the tool stands on" }, step.backend),
    step.error !== null && el("span", { class: "badge bad" }, plain(step.error)),
    (tokens || time) && el("span", { class: "measures" }, tokens && el("span", { class: "tokens" }, tokens), time),
  );
}

function drawArguments(step) {
  return el("dl", { class: "arguments" }, step.arguments.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, textOf(value)))));
}

/** What the turn cut, on its source, and what it gave. */
function drawTurnPictures(card, step, number) {
  const drawn = [];
  for (const picture of card.pictures) {
    const boxes = picture.boxes.filter((box) => box.turn === number);
    if (boxes.length > 0) drawn.push(drawPicture(picture, boxes, true));
  }
  for (const picture of card.pictures) {
    if (step.pictures.includes(picture.id)) drawn.push(drawPicture(picture, [], true));
  }
  return drawn.length > 0 && el("div", { class: "pictures" }, drawn);
}

/** The thought, and what was written beside thought, call and answer. */
function spoken(step) {
  const thought = [];
  let rest = "";
  let text = step.text;
  for (;;) {
    const start = text.indexOf("<think>");
    const end = text.indexOf("</think>", start);
    if (start < 0 || end < 0) break;
    thought.push(text.slice(start + "<think>".length, end).trim());
    rest += text.slice(0, start);
    text = text.slice(end + "</think>".length);
  }
  rest += text;
  if (step.tool !== null) rest = without(rest, "<tool_call>", "</tool_call>");
  else if (step.answer !== null) rest = without(rest, "<response>", "</response>");
  return { thought: thought.join("\n\n"), rest: rest.trim() };
}

function without(text, opening, closing) {
  const start = text.indexOf(opening);
  const end = text.indexOf(closing, start);
  return start < 0 || end < 0 ? text : text.slice(0, start) + text.slice(end + closing.length);
}

/** Text as it was written, the end of a long one only on demand. */
function textOf(text) {
  const node = el("div", { class: "text", dir: "auto" }, text.length > LONG ? text.slice(0, LONG) : text);
  if (text.length > LONG) {
    const more = el("button", { type: "button", class: "more" }, `… all ${text.length} characters`);
    more.addEventListener("click", () => node.replaceChildren(text));
    node.append(more);
  }
  return node;
}

function trainClass(step) {
  return step.trains === null ? "untold" : step.trains ? "trains" : "masked";
}

function duration(seconds) {
  if (seconds < 0.0005) return "<1 ms";
  if (seconds < 0.0995) return `${Math.round(1000 * seconds)} ms`;
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}
