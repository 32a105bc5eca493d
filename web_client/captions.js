// @ts-check
/**
 * What was said in the call, as far as it was heard. Pure: no browser, no clock.
 *
 * The assistant's words arrive before they are spoken. They are shown up to what the loudspeaker has given out, by the
 * words' own times where the engine knows them, else at the usual pace; an interrupted reply is cut where it was cut.
 */

/** Characters a second of speech holds, where word times are not known: a guess that every reply corrects. */
const CHARS_PER_SECOND = 15;

/** Lines kept; older ones are forgotten. */
const KEPT = 80;

/**
 * @typedef {{start: number, end: number, startMs: number}} Word character span and its time in the response
 *
 * `shown` characters of `text` are visible. `cut`: the rest was never heard. `live`: more is to come.
 * @typedef {{id: string, who: "assistant" | "you" | "picture", text: string, shown: number, cut: boolean, live: boolean,
 *   responseId: string, words: Word[], heardMs: number, written: boolean}} Line
 */

export class Captions {
  /** @type {Line[]} in the order of the conversation */
  #lines = [];
  #rate = CHARS_PER_SECOND / 1000;

  /** Lines with something to read, oldest first. */
  get lines() {
    return this.#lines.filter((line) => line.shown > 0);
  }

  /** The person's turn is complete; its words may come later. @param {string} itemId */
  turn(itemId) {
    this.#line(itemId, "you");
  }

  /** The person's words, typed or understood. @param {string} itemId @param {string} text */
  said(itemId, text) {
    const line = this.#line(itemId, "you");
    line.text = text.trim();
    line.shown = line.text.length;
    line.live = false;
  }

  /** The person showed a picture. @param {string} id @param {string} text */
  pictured(id, text) {
    const line = this.#line(id, "picture");
    Object.assign(line, { text, shown: text.length, live: false });
  }

  /**
   * The next characters of a reply. `written`: without speech, so they show at once.
   * @param {string} responseId
   * @param {string} itemId
   * @param {string} delta
   * @param {boolean} written
   */
  delta(responseId, itemId, delta, written) {
    const line = this.#line(itemId, "assistant");
    line.responseId = responseId;
    line.written = written;
    if (line.cut || !line.live) return;
    line.text += delta;
    if (written) line.shown = line.text.length;
  }

  /**
   * When words of a reply are spoken: `[textStart, textEnd, startMs, endMs]` each.
   * @param {string} responseId
   * @param {number[][]} words
   */
  times(responseId, words) {
    const line = this.#reply(responseId);
    if (line === undefined) return;
    const place = places(line.text);
    line.words.push(...words.map(([start, end, startMs]) => ({ start: place(start), end: place(end), startMs })));
    line.words.sort((a, b) => a.startMs - b.startMs);
  }

  /** So much of a reply has been heard. @param {string} responseId @param {number} ms */
  heard(responseId, ms) {
    const line = this.#reply(responseId);
    if (line === undefined || !line.live || line.written) return;
    line.heardMs = ms;
    line.shown = Math.max(line.shown, line.words.length ? byTimes(line, ms) : byRate(line, ms * this.#rate));
  }

  /** All of a reply was heard. @param {string} responseId */
  finished(responseId) {
    const line = this.#reply(responseId);
    if (line === undefined || line.cut) return;
    if (line.heardMs > 0) this.#rate = (this.#rate + line.text.length / line.heardMs) / 2;
    line.shown = line.text.length;
    line.live = false;
  }

  /** A reply was cut: nothing more of it shows. @param {string} responseId */
  cut(responseId) {
    const line = this.#reply(responseId);
    if (line === undefined || !line.live) return;
    line.cut = true;
    line.live = false;
  }

  /** What stays of a cut reply. @param {string} itemId @param {string} transcript */
  truncated(itemId, transcript) {
    const line = this.#lines.find((candidate) => candidate.id === itemId);
    if (line === undefined) return;
    line.text = transcript.trimEnd();
    line.shown = line.text.length;
    line.cut = true;
    line.live = false;
  }

  /** The item never was: the person went on with the turn that it belongs to. @param {string} itemId */
  removed(itemId) {
    this.#lines = this.#lines.filter((line) => line.id !== itemId);
  }

  /** @param {string} id @param {Line["who"]} who @returns {Line} */
  #line(id, who) {
    const known = this.#lines.find((line) => line.id === id);
    if (known) return known;
    /** @type {Line} */
    const line = {
      id,
      who,
      text: "",
      shown: 0,
      cut: false,
      live: true,
      responseId: "",
      words: [],
      heardMs: 0,
      written: false,
    };
    this.#lines.push(line);
    if (this.#lines.length > KEPT) this.#lines.shift();
    return line;
  }

  /** @param {string} responseId */
  #reply(responseId) {
    return this.#lines.find((line) => line.responseId === responseId);
  }
}

/** A word shows when it begins to sound, with the punctuation that follows it. @param {Line} line @param {number} ms */
function byTimes(line, ms) {
  const spoken = line.words.filter((word) => word.startMs <= ms).map((word) => word.end);
  return spoken.length ? wordEnd(line.text, Math.max(...spoken)) : 0;
}

/** @param {Line} line @param {number} chars */
function byRate(line, chars) {
  return chars > 0 ? wordEnd(line.text, Math.min(line.text.length, Math.ceil(chars))) : 0;
}

/** The end of the word that `at` is in. @param {string} text @param {number} at */
function wordEnd(text, at) {
  const rest = /^\S*/.exec(text.slice(at));
  return Math.min(text.length, at + (rest ? rest[0].length : 0));
}

/** The gateway counts characters, this language counts UTF-16 units: gives the one for the other. @param {string} text */
function places(text) {
  const characters = Array.from(text);
  if (characters.length === text.length) return (/** @type {number} */ at) => at;
  return (/** @type {number} */ at) => characters.slice(0, at).join("").length;
}
