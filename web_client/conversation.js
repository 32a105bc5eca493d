// @ts-check
/**
 * What the gateway's events mean for the page: captions, player and state; and what the page says back.
 *
 * Events: `signal` (for states.js), `captions` (they changed), `suggestions` (string[]), `notice` ({kind, text} or
 * {kind, text: ""} when it is over), `flush` and `audible` (for the speaker).
 */

import { Captions } from "./captions.js";

/** Reports to the gateway come at least every 200 ms; the player's come every 40. */
const ACK_EVERY_MS = 120;

/** From the microphone to the gateway, in ms: so long after the tap the last word has arrived. */
const LAST_WORD_MS = 150;

/** How often the gateway hears that the person is writing. */
const TYPING_EVERY_MS = 1000;

/** Responses remembered after they ended, for what still arrives about them. */
const REMEMBERED = 16;

/**
 * `sounding`: the gateway sends its speech. `audible`: the player has begun with it. `final`: nothing more of it will be
 * heard, and the gateway knows.
 * @typedef {{id: string, number: number, heardMs: number, sounding: boolean, audible: boolean, final: boolean,
 *   ackedAt: number}} Reply
 *
 * @typedef {{type: string, [field: string]: any}} ServerEvent
 */

/** Our own events that this page understands; the gateway sends only what is asked for. */
export const EXTENSIONS = [
  "response.output_audio_transcript.times",
  "session.suggestions",
  "output_audio_buffer.paused",
  "output_audio_buffer.resumed",
  "session.degraded",
  "input.silent",
  "ping",
];

export class Conversation extends EventTarget {
  captions = new Captions();
  /** @type {Reply[]} oldest first */
  #replies = [];
  /** @type {import("./player.js").Heard | null} of a response that has not been announced yet */
  #early = null;
  #typedAt = -Infinity;

  /**
   * @param {{send: (event: ServerEvent) => void, player: import("./player.js").SpeechPlayer, reports: boolean,
   *   now?: () => number}} parts `reports`: tell the gateway what was heard (not for an Opus track)
   */
  constructor({ send, player, reports, now = () => performance.now() }) {
    super();
    this.send = send;
    this.player = player;
    this.reports = reports;
    this.now = now;
    player.addEventListener("progress", (event) => this.#progress(/** @type {CustomEvent} */ (event).detail));
  }

  /** Responses begun so far (the last ones), for tests and the curious. */
  get replies() {
    return this.#replies.map(({ id, number, heardMs, final }) => ({ id, number, heardMs, final }));
  }

  /** Whether there is a reply to stop. */
  get answering() {
    return this.#replies.some((reply) => !reply.final);
  }

  // -------------------------------------------------------------------------------------------- what the person does

  /** Says a sentence in writing; a reply in progress yields to it. @param {string} text */
  say(text) {
    const id = newId("item");
    if (this.answering) this.stop();
    this.captions.said(id, text);
    this.send({
      type: "conversation.item.create",
      item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] },
    });
    this.send({ type: "response.create" });
    this.#changed();
    this.#signal({ type: "asked" });
  }

  /** The person is writing: they are there, and need not be asked. */
  typing() {
    if (this.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = this.now();
    this.send({ type: "typing" });
  }

  /** Who decides when a turn is over: the gateway, by listening, or the person, by tapping. @param {"talk" | "tap"} turns */
  takeTurns(turns) {
    this.send({ type: "session.update", session: { turn_detection: turns === "tap" ? null : { type: "semantic_vad" } } });
  }

  /** The person has said it, by tapping; what they said last is still on its way. */
  finish() {
    setTimeout(() => {
      this.send({ type: "input_audio_buffer.commit" });
      this.send({ type: "response.create" });
    }, LAST_WORD_MS);
  }

  /** The person has shown a picture. */
  pictured() {
    this.captions.pictured(newId("picture"), "You showed a picture");
    this.#changed();
  }

  /** Silence now; the gateway learns what was heard. */
  stop() {
    if (!this.answering) return;
    this.send({ type: "output_audio_buffer.clear" });
    this.#clear(this.#replies[this.#replies.length - 1]);
  }

  // -------------------------------------------------------------------------------------------- what the gateway says

  /** @param {ServerEvent} event one event of the channel `oai-events`; unknown ones mean nothing */
  handle(event) {
    HANDLERS[event.type]?.call(this, event);
  }

  /** @param {ServerEvent} event */
  begin(event) {
    /** @type {Reply} */
    const reply = {
      id: event.response.id,
      number: event.number ?? 0,
      heardMs: 0,
      sounding: false,
      audible: false,
      final: false,
      ackedAt: -Infinity,
    };
    this.#replies.push(reply);
    if (this.#replies.length > REMEMBERED) this.#replies.shift();
    this.#signal({ type: "responding" });
    const early = this.#early;
    this.#early = null;
    if (early?.number === reply.number) this.#progress(early);
  }

  /** @param {ServerEvent} event @param {boolean} written */
  text(event, written) {
    this.captions.delta(event.response_id, event.item_id, event.delta, written);
    if (written) this.#changed();
  }

  /** All of a response has been made; one without speech is over with that. @param {ServerEvent} event */
  generated(event) {
    const reply = this.#find(event.response.id);
    if (reply === undefined || reply.final) return;
    if (reply.sounding) this.player.generated(reply.number);
    else this.#silentEnd(reply, event.response.status === "cancelled");
  }

  /** It fell silent by the gateway's will. @param {ServerEvent} event */
  cleared(event) {
    const reply = this.#find(event.response_id);
    if (reply && !reply.final) this.#clear(reply);
  }

  /** @param {ServerEvent} event */
  started(event) {
    const reply = this.#find(event.response_id);
    if (reply === undefined || reply.final) return;
    reply.sounding = true;
    this.player.started(reply.number);
  }

  /** The gateway takes it as heard. @param {ServerEvent} event */
  stopped(event) {
    const reply = this.#find(event.response_id);
    if (reply === undefined || reply.final) return;
    this.player.stopped(reply.number);
    if (!reply.audible) this.#silentEnd(reply, false);
  }

  /** @param {ServerEvent} event */
  paused(event) {
    const reply = this.#find(event.response_id);
    if (reply === undefined || reply.final) return;
    this.player.pause(reply.number);
    if (reply.audible) this.dispatchEvent(new Event("hold"));
    this.#signal({ type: "paused" });
  }

  /** @param {ServerEvent} event */
  resumed(event) {
    this.player.resume(this.#find(event.response_id)?.number, event.from_ms ?? undefined);
    this.dispatchEvent(new Event("resume"));
    if (this.#find(event.response_id)?.audible) this.#signal({ type: "speaking" });
  }

  /** @param {ServerEvent} event */
  truncated(event) {
    this.captions.truncated(event.item_id, event.transcript);
    this.#changed();
  }

  /** @param {ServerEvent} event */
  deleted(event) {
    this.captions.removed(event.item_id);
    this.#changed();
  }

  /** @param {ServerEvent} event */
  transcribed(event) {
    this.captions.said(event.item_id, event.transcript);
    this.#changed();
  }

  /** @param {"degraded" | "hands-free" | "silent" | "error"} kind @param {string} text */
  notice(kind, text) {
    this.dispatchEvent(new CustomEvent("notice", { detail: { kind, text } }));
  }

  /** @param {string[]} suggestions */
  suggest(suggestions) {
    this.dispatchEvent(new CustomEvent("suggestions", { detail: suggestions }));
  }

  /** @param {import("./states.js").Signal} signal */
  signal(signal) {
    this.#signal(signal);
  }

  // -------------------------------------------------------------------------------------------- what was heard

  /** @param {import("./player.js").Heard} heard */
  #progress(heard) {
    const reply = this.#replies.find((candidate) => candidate.number === heard.number);
    if (reply === undefined) this.#early = heard;
    if (reply === undefined || reply.final) return;
    if (heard.audible && !reply.audible) this.#becomesAudible(reply);
    reply.heardMs = heard.heardMs;
    this.captions.heard(reply.id, reply.heardMs);
    this.#changed();
    if (heard.final) this.#over(reply, heard);
    else if (reply.audible && this.now() - reply.ackedAt >= ACK_EVERY_MS) this.#ack(reply, heard);
  }

  /** @param {Reply} reply */
  #becomesAudible(reply) {
    reply.audible = true;
    this.dispatchEvent(new Event("audible"));
    this.#signal({ type: "speaking" });
  }

  /** @param {Reply} reply @param {import("./player.js").Heard} heard */
  #over(reply, heard) {
    reply.final = true;
    this.#ack(reply, heard);
    if (heard.flushed) this.captions.cut(reply.id);
    else this.captions.finished(reply.id);
    this.#changed();
    this.#signal({ type: heard.flushed ? "interrupted" : "spoken" });
  }

  /** Flushes everything up to this reply; each becomes final, those that never sounded too. @param {Reply} upTo */
  #clear(upTo) {
    this.dispatchEvent(new Event("flush"));
    this.player.flush(upTo.number);
    for (const reply of this.#replies.filter((candidate) => candidate.number <= upTo.number && !candidate.final)) {
      this.#over(reply, unheard(reply));
    }
  }

  /** A reply that ends without having sounded. @param {Reply} reply @param {boolean} cut */
  #silentEnd(reply, cut) {
    reply.final = true;
    this.player.flush(reply.number);
    if (cut) this.captions.cut(reply.id);
    else this.captions.finished(reply.id);
    this.#changed();
    this.#signal({ type: "answered" });
  }

  /** @param {Reply} reply @param {import("./player.js").Heard} heard */
  #ack(reply, heard) {
    reply.ackedAt = this.now();
    if (!this.reports) return;
    this.send({
      type: "playback.ack",
      response_id: reply.id,
      played_ms: round(heard.heardMs),
      buffered_ms: round(heard.bufferedMs),
      concealed_ms: round(heard.concealedMs),
      final: heard.final,
    });
  }

  /** @param {string} id */
  #find(id) {
    return this.#replies.find((reply) => reply.id === id);
  }

  #changed() {
    this.dispatchEvent(new Event("captions"));
  }

  /** @param {import("./states.js").Signal} signal */
  #signal(signal) {
    this.dispatchEvent(new CustomEvent("signal", { detail: signal }));
  }
}

/** @type {Record<string, (this: Conversation, event: ServerEvent) => void>} */
const HANDLERS = {
  "session.created"(event) {
    this.suggest(event.session.capabilities?.suggestions ?? []);
  },
  "session.suggestions"(event) {
    this.suggest(event.suggestions);
  },
  "session.degraded"(event) {
    this.notice(event.reason === "hands_free" ? "hands-free" : "degraded", event.message);
  },
  "input.silent"(event) {
    this.notice("silent", event.recovered ? "" : SILENT_MICROPHONE);
  },
  error(event) {
    this.notice("error", event.error.message);
  },
  "input_audio_buffer.speech_started"() {
    this.signal({ type: "hearing" });
  },
  "input_audio_buffer.speech_stopped"() {
    this.signal({ type: "unheard" });
  },
  "input_audio_buffer.committed"(event) {
    this.captions.turn(event.item_id);
    this.signal({ type: "asked" });
  },
  "conversation.item.input_audio_transcription.completed"(event) {
    this.transcribed(event);
  },
  "conversation.item.deleted"(event) {
    this.deleted(event);
  },
  "conversation.item.truncated"(event) {
    this.truncated(event);
  },
  "response.created"(event) {
    this.begin(event);
  },
  "response.output_audio_transcript.delta"(event) {
    this.text(event, false);
  },
  "response.output_text.delta"(event) {
    this.text(event, true);
  },
  "response.output_audio_transcript.times"(event) {
    this.captions.times(event.response_id, event.words);
  },
  "response.done"(event) {
    this.generated(event);
  },
  "output_audio_buffer.started"(event) {
    this.started(event);
  },
  "output_audio_buffer.stopped"(event) {
    this.stopped(event);
  },
  "output_audio_buffer.cleared"(event) {
    this.cleared(event);
  },
  "output_audio_buffer.paused"(event) {
    this.paused(event);
  },
  "output_audio_buffer.resumed"(event) {
    this.resumed(event);
  },
  ping(event) {
    this.send({ type: "pong", nonce: event.nonce });
  },
};

const SILENT_MICROPHONE =
  "Your microphone delivers only silence. Is it muted by a switch or held by another app? Choose another one in the settings.";

/** @param {Reply} reply @returns {import("./player.js").Heard} */
function unheard(reply) {
  const { number, heardMs, audible } = reply;
  return { number, heardMs, bufferedMs: 0, concealedMs: 0, audible, flushed: true, final: true };
}

/** @param {string} kind */
function newId(kind) {
  return `${kind}_${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Tenths of a millisecond are enough. @param {number} ms */
function round(ms) {
  return Math.round(ms * 10) / 10;
}
