// @ts-check
/**
 * The page: draws a `Model`, and turns clicks into events. It keeps nothing but what it drew.
 *
 * Events: `call`, `hangup`, `mute`, `tapping`, `camera`, `flip`, `stop`, `typing`, `wake`, `settings`; with a detail: `say` (string), `show`
 * (File), `choose` ({kind, deviceId}), `manner` ({what, name}), `clip` (File), `turns` (string), `dismiss` (key of a notice).
 */

import { CaptionsView } from "./captions-view.js";
import { isConnected, isLive } from "./states.js";
import { muteLabel, wording } from "./wording.js";

/**
 * `key`: one notice of a kind at a time. `action`: the label of its button, which sends the event `wake`.
 * @typedef {{key: string, text: string, action?: string}} Notice
 *
 * `standIn`: said plainly when the engine is scripted. `recording`: the call is written down. `about`: engine and version.
 * `manner`: who the assistant is in this call and how it sounds.
 * @typedef {{state: import("./states.js").State, muted: boolean, tapping?: boolean, cameraOn: boolean, cameraLive: boolean,
 *   mirrored: boolean, canFlip: boolean, canStop: boolean, brand: string, standIn: string, manner?: string, recording?: boolean, about: string,
 *   suggestions: string[], notices: Notice[]}} Model
 */

const DEVICE_NAMES = { audioinput: "Microphone", videoinput: "Camera", audiooutput: "Loudspeaker" };

/** Suggestions shown at once, as many as a glance takes in. */
const MOST_SUGGESTIONS = 5;

/** Notices shown at once, the newest ones: more would push the state aside. */
const MOST_NOTICES = 2;

export class View extends EventTarget {
  /** @param {Document} page */
  constructor(page) {
    super();
    this.page = page;
    this.captions = new CaptionsView(this.find("captions"), this.find("spoken-captions"));
    this.audio = /** @type {HTMLAudioElement} */ (this.find("speaker"));
    this.video = /** @type {HTMLVideoElement} */ (this.find("camera-view"));
    this.orb = this.find("orb");
    this.#listen();
  }

  /** @param {string} id @returns {HTMLElement} */
  find(id) {
    const element = this.page.getElementById(id);
    if (element === null) throw new Error(`the page lacks #${id}`);
    return element;
  }

  /** @param {Model} model */
  render(model) {
    const { state } = model;
    const body = this.page.body;
    const live = isLive(state);
    body.dataset.state = state.name;
    body.toggleAttribute("data-connected", isConnected(state));
    body.toggleAttribute("data-muted", model.muted);
    body.toggleAttribute("data-camera", model.cameraLive);
    this.#state(model);
    this.#controls(model, live);
    this.#text("brand-name", model.brand);
    this.#text("stand-in", model.standIn);
    this.#text("about", model.about);
    this.#text("manner", model.manner ?? "");
    this.find("manner").hidden = !model.manner;
    this.find("stand-in").hidden = model.standIn === "";
    this.find("recording").hidden = !model.recording;
    this.find("self-view").hidden = !model.cameraLive;
    this.find("self-view").toggleAttribute("data-mirrored", model.mirrored);
    this.#suggestions(state.name === "problem" ? [] : model.suggestions);
    this.#notices(model.notices);
  }

  /** Loudness of the person and of the assistant, 0..1. @param {number} mic @param {number} voice */
  levels(mic, voice) {
    this.orb.style.setProperty("--mic", mic.toFixed(3));
    this.orb.style.setProperty("--voice", voice.toFixed(3));
  }

  /**
   * Fills the device pickers.
   * @param {Awaited<ReturnType<import("./media.js").listDevices>>} devices
   * @param {Record<"audioinput" | "videoinput" | "audiooutput", string>} chosen
   * @param {boolean} canChooseSpeaker
   */
  devices(devices, chosen, canChooseSpeaker) {
    for (const kind of /** @type {const} */ (["audioinput", "videoinput", "audiooutput"])) {
      const picker = /** @type {HTMLSelectElement} */ (this.find(`choose-${kind}`));
      const options = devices[kind].map((info, index) => option(info.deviceId, info.label || `${DEVICE_NAMES[kind]} ${index + 1}`));
      picker.replaceChildren(option("", "Chosen by the browser"), ...options);
      picker.value = chosen[kind];
      if (picker.selectedIndex < 0) picker.value = "";
    }
    this.find("speaker-choice").hidden = !canChooseSpeaker || devices.audiooutput.length === 0;
  }

  /**
   * Fills a picker of how the assistant is to be, which hides where there is nothing to choose.
   * @param {"voice" | "persona" | "language"} what
   * @param {[string, string][]} choices value and words of each, beyond the usual one
   * @param {string} chosen
   * @param {boolean} [growing] choices may come
   */
  manner(what, choices, chosen, growing = false) {
    const picker = /** @type {HTMLSelectElement} */ (this.find(`choose-${what}`));
    picker.replaceChildren(option("", "The usual one"), ...choices.map(([value, words]) => option(value, words)));
    picker.value = choices.some(([value]) => value === chosen) ? chosen : "";
    this.find(`${what}-choice`).hidden = choices.length === 0 && !growing;
  }

  /** @param {boolean} taken whether the engine speaks in the voice of a clip */
  clips(taken) {
    this.find("clip-choice").hidden = !taken;
  }

  /** What became of a clip. @param {string} text @param {boolean} [trouble] */
  clipWord(text, trouble = false) {
    this.#text("clip-word", text);
    this.find("clip-word").toggleAttribute("data-problem", trouble);
  }

  /** @param {string} turns "talk" or "tap" */
  turns(turns) {
    /** @type {HTMLSelectElement} */ (this.find("choose-turns")).value = turns;
  }

  /** @param {Model} model */
  #state(model) {
    const { word, hint } = wording(model.state, model);
    this.#text("state-word", word);
    this.#text("state-hint", hint);
    this.#text("place", model.state.place ? String(model.state.place) : "");
    this.page.title = model.state.name === "idle" ? "Call the assistant" : `${word} · Call`;
    const speaking = model.state.name === "speaking";
    this.orb.setAttribute("aria-label", speaking ? "Stop the assistant" : isLive(model.state) ? word : "Call");
  }

  /** @param {Model} model @param {boolean} live */
  #controls(model, live) {
    const waiting = model.state.name === "waiting";
    const focused = this.page.activeElement;
    this.find("call").hidden = live;
    this.find("hangup").hidden = !live;
    this.find("stop").hidden = !isConnected(model.state);
    this.find("flip").hidden = !(live && model.cameraLive && model.canFlip);
    this.#button("stop").disabled = !model.canStop;
    this.#text("call-label", model.state.name === "problem" ? "Call again" : "Call");
    this.#text("hangup-label", waiting ? "Leave the line" : live && !isConnected(model.state) ? "Cancel" : "Hang up");
    this.#text("mute-label", muteLabel(model));
    this.find("mute").setAttribute("aria-pressed", String(model.muted));
    this.find("camera").setAttribute("aria-pressed", String(model.cameraOn));
    // The focus of a control that has just gone moves to the one that took its place.
    if (focused instanceof HTMLButtonElement && focused.hidden) this.find(live ? "hangup" : "call").focus();
  }

  /** @param {string[]} suggestions */
  #suggestions(suggestions) {
    const box = this.find("suggestions");
    const shown = suggestions.slice(0, MOST_SUGGESTIONS);
    if (box.dataset.shown === JSON.stringify(shown)) return;
    box.dataset.shown = JSON.stringify(shown);
    const title = Object.assign(this.page.createElement("p"), { textContent: "Try saying" });
    const chips = shown.map((text) => {
      const chip = Object.assign(this.page.createElement("button"), { type: "button", textContent: text });
      chip.addEventListener("click", () => this.#emit("say", text));
      return chip;
    });
    box.replaceChildren(...(chips.length ? [title, ...chips] : []));
    box.scrollLeft = 0;
  }

  /** @param {Notice[]} notices */
  #notices(notices) {
    const box = this.find("notices");
    const shown = notices.slice(-MOST_NOTICES);
    if (box.dataset.shown === JSON.stringify(shown)) return;
    box.dataset.shown = JSON.stringify(shown);
    box.replaceChildren(...shown.map((notice) => this.#notice(notice)));
  }

  /** @param {Notice} notice */
  #notice(notice) {
    const box = Object.assign(this.page.createElement("div"), { className: "notice" });
    const button = Object.assign(this.page.createElement("button"), { type: "button" });
    box.append(Object.assign(this.page.createElement("p"), { textContent: notice.text }), button);
    if (notice.action) {
      Object.assign(button, { className: "notice-action", textContent: notice.action });
      button.addEventListener("click", () => this.#emit(notice.key === "hands-free" ? "tapping" : "wake"));
    } else {
      button.className = "quiet-button";
      button.setAttribute("aria-label", "Dismiss");
      button.innerHTML = '<svg aria-hidden="true"><use href="#i-close" /></svg>';
      button.addEventListener("click", () => this.#emit("dismiss", notice.key));
    }
    return box;
  }

  #listen() {
    for (const name of ["call", "hangup", "mute", "camera", "flip", "stop"]) {
      this.find(name).addEventListener("click", () => this.#emit(name));
    }
    this.orb.addEventListener("click", () => this.#orbPressed());
    this.page.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.#dialog.open) this.#emit("stop");
    });
    this.find("composer").addEventListener("submit", (event) => this.#submit(event));
    this.find("sentence").addEventListener("input", () => this.#emit("typing"));
    this.#listenForFiles("show-picture", "picture-file", "show");
    this.#listenForFiles("bring-voice", "voice-file", "clip");
    this.#listenForDevices();
  }

  #orbPressed() {
    const state = this.page.body.dataset.state;
    if (state === "idle" || state === "problem") this.#emit("call");
    else if (state === "speaking") this.#emit("stop");
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const field = /** @type {HTMLInputElement} */ (this.find("sentence"));
    const text = field.value.trim();
    field.value = "";
    if (text) this.#emit("say", text);
  }

  /** @param {string} button @param {string} field of a file @param {string} event */
  #listenForFiles(button, field, event) {
    const picker = /** @type {HTMLInputElement} */ (this.find(field));
    this.find(button).addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      const file = picker.files?.[0];
      if (file) this.#emit(event, file);
      picker.value = "";
    });
  }

  #listenForDevices() {
    this.find("settings-button").addEventListener("click", () => {
      this.#emit("settings");
      this.#dialog.showModal();
    });
    for (const kind of Object.keys(DEVICE_NAMES)) {
      const picker = /** @type {HTMLSelectElement} */ (this.find(`choose-${kind}`));
      picker.addEventListener("change", () => this.#emit("choose", { kind, deviceId: picker.value }));
    }
    for (const what of ["voice", "persona", "language"]) {
      const picker = /** @type {HTMLSelectElement} */ (this.find(`choose-${what}`));
      picker.addEventListener("change", () => this.#emit("manner", { what, name: picker.value }));
    }
    const turns = /** @type {HTMLSelectElement} */ (this.find("choose-turns"));
    turns.addEventListener("change", () => this.#emit("turns", turns.value));
  }

  /** Whether the settings are open. */
  get inSettings() {
    return this.#dialog.open;
  }

  get #dialog() {
    return /** @type {HTMLDialogElement} */ (this.find("settings"));
  }

  /** @param {string} id @returns {HTMLButtonElement} */
  #button(id) {
    return /** @type {HTMLButtonElement} */ (this.find(id));
  }

  /** @param {string} id @param {string} text */
  #text(id, text) {
    const element = this.find(id);
    if (element.textContent !== text) element.textContent = text;
  }

  /** @param {string} type @param {unknown} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {string} value @param {string} text */
function option(value, text) {
  return Object.assign(document.createElement("option"), { value, textContent: text });
}
