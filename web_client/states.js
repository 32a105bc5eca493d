// @ts-check
/**
 * The state of the call as the person sees it. Pure: `next(state, signal, now)` gives the next state, times in ms.
 *
 *     idle ─call─▶ connecting ─connected─▶ listening ⇄ thinking ─▶ speaking ─▶ interrupted ─▶ listening
 *                      │ ▲                              any of them ─problem─▶ problem ─call─▶ connecting
 *                queued▼ │                              any of them ─hangup──▶ idle
 *                    waiting
 */

/** @typedef {"idle" | "connecting" | "waiting" | "listening" | "thinking" | "speaking" | "interrupted" | "problem"} Name */

/**
 * `expires`: when the state ends by itself (see `tick`), in ms. `hearing`: the person is speaking.
 * @typedef {{name: Name, since: number, expires: number | null, hearing: boolean, place: number, waitS: number,
 *   problem: import("./problems.js").Problem | null}} State
 *
 * @typedef {{type: "call" | "connected" | "hearing" | "unheard" | "asked" | "responding" | "answered" | "speaking" |
 *     "spoken" | "paused" | "interrupted" | "hangup" | "tick"}
 *   | {type: "queued", place: number, waitS: number}
 *   | {type: "problem", problem: import("./problems.js").Problem}} Signal
 */

/** How long "interrupted" stays to be read, and how long "thinking" may last without an answer. */
export const INTERRUPTED_MS = 1200;
export const THINKING_MS = 20_000;

/** @type {State} */
export const IDLE = Object.freeze({
  name: "idle",
  since: 0,
  expires: null,
  hearing: false,
  place: 0,
  waitS: 0,
  problem: null,
});

/** Where the person is in a call and the microphone counts. */
const IN_CALL = new Set(["listening", "thinking", "speaking", "interrupted"]);

/** From the moment of the click until hang-up. @param {State} state */
export function isLive(state) {
  return isConnected(state) || state.name === "connecting" || state.name === "waiting";
}

/** @param {State} state */
export function isConnected(state) {
  return IN_CALL.has(state.name);
}

/**
 * @param {State} state
 * @param {Signal} signal
 * @param {number} now ms
 * @returns {State} the same object when the signal changes nothing
 */
export function next(state, signal, now) {
  if (signal.type === "hangup") return enter("idle", now);
  if (signal.type === "problem") return { ...enter("problem", now), problem: signal.problem };
  if (signal.type === "tick") return expire(state, now);
  if (isConnected(state)) return inCall(state, signal, now);
  return calling(state, signal, now);
}

/** @param {State} state @param {Signal} signal @param {number} now @returns {State} */
function calling(state, signal, now) {
  const ringing = state.name === "connecting" || state.name === "waiting";
  if (signal.type === "call" && !ringing) return enter("connecting", now);
  if (signal.type === "queued" && ringing) {
    return { ...enter("waiting", now), place: signal.place, waitS: signal.waitS };
  }
  if (signal.type === "connected" && ringing) return enter("listening", now);
  return state;
}

/** @param {State} state @param {Signal} signal @param {number} now @returns {State} */
function inCall(state, signal, now) {
  switch (signal.type) {
    case "hearing":
      return state.name === "speaking" ? { ...state, hearing: true } : { ...enter("listening", now), hearing: true };
    case "unheard":
      return { ...state, hearing: false };
    case "asked":
    case "responding":
      return state.name === "speaking" && signal.type === "asked" ? state : enter("thinking", now);
    case "speaking":
      return state.name === "speaking" ? state : { ...enter("speaking", now), hearing: state.hearing };
    case "spoken":
      return state.name === "speaking" ? enter("listening", now) : state;
    case "answered":
      return state.name === "thinking" ? enter("listening", now) : state;
    case "paused":
      return state.name === "speaking" ? { ...enter("listening", now), hearing: true } : state;
    case "interrupted":
      return state.name === "speaking" || state.name === "thinking" || state.hearing
        ? { ...enter("interrupted", now), hearing: state.hearing }
        : state;
    default:
      return state;
  }
}

/** @param {State} state @param {number} now @returns {State} */
function expire(state, now) {
  if (state.expires === null || now < state.expires) return state;
  return { ...enter("listening", now), hearing: state.hearing };
}

/** @param {Name} name @param {number} now @returns {State} */
function enter(name, now) {
  const lasts = name === "interrupted" ? INTERRUPTED_MS : name === "thinking" ? THINKING_MS : null;
  return { ...IDLE, name, since: now, expires: lasts === null ? null : now + lasts };
}
