// @ts-check
/** The HTTP side of a call: what the service offers, the offer and its answer, the waiting line, hanging up. */

import { CallProblem, problem, refusalProblem, voiceRefusal } from "./problems.js";

const CALLS = "/v1/realtime/calls";

/** How often a place in line is asked for again; the service forgets it otherwise. */
const ASK_AGAIN_MS = 2000;

/**
 * What the service says before a call.
 * @typedef {{ice_servers: RTCIceServer[], engine: Record<string, any> | null, limits: Record<string, any>,
 *   personas: import("./manner.js").Persona[], version: string}} Config
 *
 * @typedef {{sdp: string, location: string, secret: string}} Answer
 * @typedef {{place: number, wait_s: number}} Queued
 */

/** @type {Config} */
const UNKNOWN = { ice_servers: [], engine: null, limits: {}, personas: [], version: "" };

/** The service's configuration; the bare minimum when it does not answer, since the call itself will say why. */
export async function fetchConfig() {
  try {
    const response = await fetch("/v1/config");
    return response.ok ? { ...UNKNOWN, .../** @type {Partial<Config>} */ (await response.json()) } : UNKNOWN;
  } catch {
    return UNKNOWN;
  }
}

/**
 * Offers a call, and waits in line while all places are taken. Raises `CallProblem`, or `AbortError` by the signal.
 * @param {string} sdp
 * @param {AbortSignal} signal leaves the line
 * @param {(queued: Queued) => void} onQueued
 * @returns {Promise<Answer>}
 */
export async function offerCall(sdp, signal, onQueued) {
  let ticket = "";
  for (;;) {
    const response = await post(sdp, ticket, signal);
    if (response.status === 201) return readAnswer(response);
    const body = await response.json().catch(() => null);
    if (response.status !== 202) throw new CallProblem(refusalProblem(response.status, body));
    ticket = body.ticket;
    onQueued({ place: body.place, wait_s: body.wait_s });
    await pause(ASK_AGAIN_MS, signal);
  }
}

/** Ends a call; works while the page goes away. @param {string} location @param {string} secret */
export function hangUp(location, secret) {
  const headers = { Authorization: `Call ${secret}` };
  return fetch(location, { method: "DELETE", headers, keepalive: true }).catch(() => undefined);
}

/** A clip that was not taken; the message is for the person. */
export class VoiceRefused extends Error {}

/**
 * Brings a clip of a voice to a call; resolves with its name there. Raises `VoiceRefused`.
 * @param {Blob} clip
 * @param {string} secret the call's
 * @returns {Promise<string>}
 */
export async function sendVoice(clip, secret) {
  const headers = { Authorization: `Call ${secret}` };
  const response = await fetch("/v1/voices", { method: "POST", headers, body: clip }).catch(() => null);
  const body = await response?.json().catch(() => null);
  if (response?.status !== 201) throw new VoiceRefused(voiceRefusal(body?.error));
  return body.id;
}

/** @param {string} sdp @param {string} ticket @param {AbortSignal} signal */
async function post(sdp, ticket, signal) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/sdp", Prefer: "wait" };
  if (ticket) headers["Call-Ticket"] = ticket;
  try {
    return await fetch(CALLS, { method: "POST", headers, body: sdp, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CallProblem(problem("unreachable"));
  }
}

/** @param {Response} response @returns {Promise<Answer>} */
async function readAnswer(response) {
  const location = response.headers.get("Location");
  const secret = response.headers.get("Call-Secret");
  if (location === null || secret === null) throw new CallProblem(problem("unexpected", "no Location or Call-Secret"));
  return { sdp: await response.text(), location, secret };
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
