/** The page's data: base64 of zlib-compressed JSON in script elements that no browser runs. */

const KEPT_CHUNKS = 4;

const parsed = new Promise((resolve) => {
  document.addEventListener("DOMContentLoaded", resolve, { once: true });
});

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

/** The trajectories in full, read in chunks. */
class Cards {
  constructor(counts) {
    this.starts = [];
    this.kept = new Map();
    let start = 0;
    for (const count of counts) {
      this.starts.push(start);
      start += count;
    }
  }

  async get(number) {
    let chunk = this.starts.length - 1;
    while (this.starts[chunk] > number) chunk--;
    return (await this.chunk(chunk))[number - this.starts[chunk]];
  }

  async chunk(number) {
    if (!this.kept.has(number)) {
      await parsed;
      if (this.kept.size >= KEPT_CHUNKS) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(number, unpack(`chunk-${number}`));
    }
    return this.kept.get(number);
  }
}

/** What a search looks through: the lower-case text of each trajectory, read when the first search begins. */
class Texts {
  constructor(cards, lines) {
    this.cards = cards;
    this.lines = lines;
    this.texts = [];
    this.reading = null;
  }

  get share() {
    return this.texts.length / this.lines.length;
  }

  /** Reads all; `progress` is called after each chunk. */
  read(progress) {
    this.reading ??= this.readAll(progress);
  }

  async readAll(progress) {
    await parsed;
    for (let number = 0; number < this.cards.starts.length; number++) {
      for (const card of await unpack(`chunk-${number}`)) this.texts.push(this.textOf(card, this.texts.length));
      progress();
      // Let the keyboard and the screen have their turn.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }

  textOf(card, number) {
    const line = this.lines[number];
    const parts = [line.group, line.name, card.question, card.found, ...card.accepted, card.failure ?? "", card.unscored, card.reason];
    for (const step of card.steps) parts.push(step.text, step.observation ?? "", ...step.pages);
    return parts.join("\n").toLowerCase();
  }

  /** Whether trajectory `number` holds all `words`; not while its text has not been read. */
  has(number, words) {
    const text = this.texts[number];
    return text !== undefined && words.every((word) => text.includes(word));
  }
}
