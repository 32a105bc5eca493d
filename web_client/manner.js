// @ts-check
/**
 * How the assistant is to be: its voice, its persona, its language. Remembered from one call to the next, but for a clip
 * that the person brings: that is kept by this page alone, and by the service for as long as a call lasts.
 */

/** @typedef {{id: string, name: string, instructions: string}} Persona */

/** Stands for the person's own clip among the names of voices. */
export const OWN_CLIP = ":own";

/** What the service takes (`realtime/media/voice_clips.py`). */
export const MAX_CLIP_BYTES = 5 * 1024 * 1024;
const CLIP_NAMES = /\.(wav|flac|mp3|ogg|oga|opus)$/i;

const KEYS = { voice: "voice", persona: "persona", language: "language" };

export class Manner {
  /** Each is the usual one where it is empty. */
  voice = "";
  persona = "";
  language = "";
  /** @type {File | null} */
  clip = null;
  /** The name that the service gave the clip, for the present call. */
  clipId = "";

  /** @param {(key: string) => string | null} recall @param {(key: string, value: string) => void} remember */
  constructor(recall, remember) {
    this.remember = remember;
    this.voice = recall(KEYS.voice) ?? "";
    this.persona = recall(KEYS.persona) ?? "";
    this.language = recall(KEYS.language) ?? "";
  }

  /** @param {"voice" | "persona" | "language"} what @param {string} name */
  choose(what, name) {
    this[what] = name;
    if (name !== OWN_CLIP) this.remember(KEYS[what], name);
  }

  /** The assistant is to speak as in this clip. @param {File} clip */
  bring(clip) {
    this.clip = clip;
    this.clipId = "";
    this.voice = OWN_CLIP;
  }

  /** The clip cannot be used. */
  drop() {
    this.clip = null;
    this.clipId = "";
    this.voice = "";
  }

  /** The clip of a call is gone with it. */
  callBegins() {
    this.clipId = "";
  }

  /** Whether a clip has to be sent before it can be spoken with. */
  get waitsToBeSent() {
    return this.voice === OWN_CLIP && this.clip !== null && this.clipId === "";
  }

  /**
   * What a session that is as usual has to be asked for.
   * @param {Record<string, any>} engine its capabilities
   * @param {Persona[]} personas
   * @returns {{voice?: string, instructions?: string, language?: string}}
   */
  wishes(engine, personas) {
    const persona = personas.find(({ id }) => id === this.persona);
    return {
      ...(engine.voices?.includes(this.voice) && { voice: this.voice }),
      ...(persona && { instructions: persona.instructions }),
      ...(this.language && engine.languages?.includes(this.language) && { language: this.language }),
    };
  }

  /** Voices to choose from, as [value, words]; none where there is nothing to choose. @param {Record<string, any>} engine */
  voices(engine) {
    /** @type {[string, string][]} */
    const named = (engine.voices ?? []).map((/** @type {string} */ name) => [name, spelled(name)]);
    if (this.clip && engine.voice_clips) named.push([OWN_CLIP, `Your clip: ${this.clip.name}`]);
    return named;
  }

  /**
   * What a session is, in words for the person; empty where it could be nothing else.
   * @param {{voice?: string, instructions?: string}} session
   * @param {Record<string, any>} engine
   * @param {Persona[]} personas
   */
  described({ voice = "", instructions = "" }, engine, personas) {
    const choice = (engine.voices ?? []).length > 0 || engine.voice_clips === true;
    const own = voice !== "" && voice === this.clipId;
    const spoken = own ? "your clip" : voice ? spelled(voice) : "the usual one";
    const persona = personas.find((one) => one.instructions === instructions);
    return [persona?.name, choice && `Voice: ${spoken}`].filter(Boolean).join(" · ");
  }
}

/** Why a file cannot be a clip, in words for the person; empty if it can. @param {File} file */
export function clipProblem(file) {
  if (file.name.includes(".") && !CLIP_NAMES.test(file.name)) {
    return `${file.name} is no WAV, FLAC, MP3 or OGG file. Choose or save the recording as one of these.`;
  }
  if (file.size > MAX_CLIP_BYTES) return `${file.name} is larger than 5 MB. Choose a shorter recording.`;
  return file.size === 0 ? `${file.name} is empty.` : "";
}

/** @param {string} name */
function spelled(name) {
  return name.replaceAll("_", " ");
}

/** A language by its name in English: `zh` is Chinese. @param {string} code */
export function languageName(code) {
  return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
}
