// @ts-check
/** Draws captions. What the eye reads grows word by word; a screen reader gets each line once, when it is complete. */

/** @typedef {import("./captions.js").Line} Line */

/** Lines that stay on the page. */
const KEPT = 40;

/** How far from the end still counts as reading along, in pixels. */
const NEAR_END = 80;

export class CaptionsView {
  /** @type {Map<string, HTMLElement>} */
  #drawn = new Map();
  /** @type {Set<string>} */
  #announced = new Set();
  #following = true;

  /** @param {HTMLElement} box @param {HTMLElement} spoken a polite live region */
  constructor(box, spoken) {
    this.box = box;
    this.spoken = spoken;
    box.addEventListener("scroll", () => {
      this.#following = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
    });
    new ResizeObserver(() => this.#follow()).observe(box);
  }

  /** @param {Line[]} lines oldest first */
  render(lines) {
    const shown = lines.slice(-KEPT);
    this.#forget(new Set(shown.map((line) => line.id)));
    shown.forEach((line, index) => this.#draw(line, index));
    this.#follow();
  }

  /** Keeps the newest words in sight, unless the person has scrolled back. */
  #follow() {
    if (this.#following) this.box.scrollTop = this.box.scrollHeight;
  }

  clear() {
    this.#forget(new Set());
    this.spoken.replaceChildren();
  }

  /** @param {Line} line @param {number} index */
  #draw(line, index) {
    const element = this.#drawn.get(line.id) ?? this.#add(line);
    if (this.box.children[index] !== element) this.box.insertBefore(element, this.box.children[index] ?? null);
    const text = line.text.slice(0, line.shown);
    const stamp = `${line.cut}${text}`;
    if (element.dataset.stamp !== stamp) this.#write(element, line, text, stamp);
    if (!line.live) this.#announce(line, text);
  }

  /** @param {Line} line */
  #add(line) {
    const element = document.createElement("p");
    element.className = `line line-${line.who}`;
    this.#drawn.set(line.id, element);
    return element;
  }

  /** @param {HTMLElement} element @param {Line} line @param {string} text @param {string} stamp */
  #write(element, line, text, stamp) {
    element.dataset.stamp = stamp;
    element.replaceChildren(text, ...(line.cut ? [cutMark()] : []));
  }

  /** @param {Line} line @param {string} text */
  #announce(line, text) {
    if (this.#announced.has(line.id)) return;
    this.#announced.add(line.id);
    const said = document.createElement("p");
    said.textContent = `${line.who === "assistant" ? "Assistant: " : ""}${text}${line.cut ? " (cut off)" : ""}`;
    this.spoken.append(said);
    while (this.spoken.children.length > KEPT) this.spoken.firstChild?.remove();
  }

  /** @param {Set<string>} kept */
  #forget(kept) {
    for (const [id, element] of this.#drawn) {
      if (kept.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
      this.#announced.delete(id);
    }
  }
}

/** Where the assistant was cut. */
function cutMark() {
  const mark = document.createElement("span");
  mark.className = "cut";
  const note = document.createElement("small");
  note.textContent = "cut off";
  mark.append("—", note);
  return mark;
}
