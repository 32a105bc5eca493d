// @ts-check
/** Where the person chooses how the assistant is to be: the settings follow the engine, the call follows the choice. */

import { OWN_CLIP, clipProblem, languageName } from "./manner.js";

/** @typedef {import("./manner.js").Persona} Persona */

export class MannerChoice {
  /** @type {Record<string, any>} the engine's capabilities */
  engine = {};
  /** @type {Persona[]} */
  personas = [];
  /** @type {import("./call.js").Call | null} the one that stands */
  #call = null;
  /** @type {{voice?: string, instructions?: string}} what the gateway says of its session */
  #session = {};

  /**
   * @param {import("./view.js").View} view
   * @param {import("./manner.js").Manner} manner
   * @param {(words: string) => void} tell what the person has to know who does not look at the settings
   */
  constructor(view, manner, tell) {
    this.view = view;
    this.manner = manner;
    this.tell = tell;
  }

  /** A call stands, and its session is as usual. @param {import("./call.js").Call} call */
  begin(call) {
    this.#call = call;
    this.manner.callBegins();
    call.configure(this.manner.wishes(this.engine, this.personas));
    if (this.manner.waitsToBeSent && this.engine.voice_clips) void this.#send();
  }

  /** It is over, and what was brought to it is gone. */
  end() {
    this.#call = null;
    this.#session = {};
    this.view.clipWord("");
  }

  /** @param {{voice?: string, instructions?: string}} session */
  follow(session) {
    this.#session = session;
  }

  /** How the assistant is in this call, in words. */
  get words() {
    return this.manner.described(this.#session, this.engine, this.personas);
  }

  /** Fills the settings. */
  offer() {
    const { engine, manner, personas, view } = this;
    /** @type {string[]} */
    const languages = engine.languages?.length > 1 ? engine.languages : [];
    view.manner("persona", personas.map(({ id, name }) => [id, name]), manner.persona);
    view.manner("voice", manner.voices(engine), manner.voice, engine.voice_clips === true);
    view.manner("language", languages.map((code) => [code, languageName(code)]), manner.language);
    view.clips(engine.voice_clips === true);
  }

  /** @param {{what: "voice" | "persona" | "language", name: string}} choice */
  choose({ what, name }) {
    this.manner.choose(what, name);
    if (what === "voice") this.#chooseVoice(name);
    else if (what === "language") this.#call?.configure({ language: name || this.engine.languages[0] });
    else this.#call?.configure({ instructions: this.personas.find(({ id }) => id === name)?.instructions ?? "" });
  }

  /** @param {string} name */
  #chooseVoice(name) {
    this.view.clipWord("");
    if (this.manner.waitsToBeSent && this.#call) void this.#send();
    else this.#call?.configure({ voice: name === OWN_CLIP ? this.manner.clipId : name });
  }

  /** @param {File} file */
  async bring(file) {
    const trouble = clipProblem(file);
    if (trouble) return this.view.clipWord(trouble, true);
    this.manner.bring(file);
    this.offer();
    if (this.#call) await this.#send();
    else this.view.clipWord(`The next call begins with ${file.name}.`);
  }

  /** The clip goes to the call; if the service does not take it, that is said, and the voice is the usual one. */
  async #send() {
    const { manner, view } = this;
    const { clip } = manner;
    const call = this.#call;
    if (call === null || clip === null) return;
    const stale = () => call !== this.#call || clip !== manner.clip;
    view.clipWord(`Sending ${clip.name} …`);
    try {
      const id = await call.bringVoice(clip);
      if (!stale()) this.#brought(call, clip, id);
    } catch (error) {
      if (!stale()) this.#refused(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {import("./call.js").Call} call @param {File} clip @param {string} id */
  #brought(call, clip, id) {
    this.manner.clipId = id;
    if (this.manner.voice === OWN_CLIP) call.configure({ voice: id });
    this.view.clipWord(`From its next answer on the assistant speaks as in ${clip.name}.`);
  }

  /** @param {string} words */
  #refused(words) {
    this.manner.drop();
    this.#call?.configure({ voice: "" });
    this.offer();
    this.view.clipWord(words, true);
    if (!this.view.inSettings) this.tell(words);
  }
}
