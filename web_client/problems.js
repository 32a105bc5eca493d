// @ts-check
/** Everything that can keep a call from happening, in words for the person: what it is and what to do about it. */

/**
 * `code` names it for programs; `title` and `advice` are for the person.
 * @typedef {{code: string, title: string, advice: string}} Problem
 */

/** @type {Record<string, [title: string, advice: string]>} */
const WORDS = {
  insecure_origin: [
    "This address is not secure",
    "Browsers give the microphone to https:// pages only. Open this page with https:// or, on this computer, at http://localhost.",
  ],
  unsupported_browser: [
    "This browser cannot make calls",
    "It lacks WebRTC. Use a current Safari, Chrome, Edge or Firefox.",
  ],
  no_microphone: ["No microphone found", "Connect a microphone or a headset, then call again."],
  microphone_denied: [
    "The microphone is blocked",
    "Allow the microphone for this page: tap the icon beside the address, or look in the browser's settings. Then call again.",
  ],
  microphone_busy: [
    "The microphone is in use",
    "Another app holds it. Close the other call or recorder, then call again.",
  ],
  microphone_failed: ["The microphone did not start", "Unplug it and plug it in again, or choose another one in the settings."],
  microphone_lost: ["The microphone is gone", "It was unplugged or taken away. Connect it, then call again."],
  camera_denied: ["Voice only: the camera is blocked", "Allow the camera for this page to show something."],
  no_camera: ["Voice only: no camera found", "Connect a camera to show something."],
  camera_busy: ["Voice only: the camera is in use", "Close the other app that uses it, then switch the camera on again."],
  server_full: ["All lines are busy", "Every place is taken right now. Try again in a moment."],
  unreachable: ["The service does not answer", "Check your network connection, or ask whoever runs this service."],
  wrong_origin: [
    "This address is not allowed",
    "The service does not take calls from this page's address. Open the address that the service itself shows.",
  ],
  model_server_unavailable: ["The assistant is not ready", "It may still be starting. Try again in a moment."],
  connection_failed: [
    "No connection for sound",
    "The service answers, but sound does not get through. A firewall or a VPN may block it: try another network.",
  ],
  connection_lost: ["The connection was lost", "The service has fallen silent. Check your network, then call again."],
  ended: ["The call has ended", "The assistant hung up. Call again whenever you like."],
  place_lost: ["Your place in line is gone", "The wait was interrupted. Call again to get a new place."],
  refused: ["The call was not taken", "The service refused it."],
  unexpected: ["Something went wrong", "Call again. If it happens once more, reload the page."],
};

/** @type {Record<string, string>} why a clip of a voice was not taken, by the service's code */
const VOICE_WORDS = {
  clip_too_large: "This file is larger than 5 MB. Choose a shorter recording.",
  too_many_voices: "This call has been brought as many clips as it may have. Hang up and call again to bring another.",
  no_voice_clips: "This assistant speaks in its own voices only.",
};

/** @param {{code?: string, message?: string} | undefined} error the service's; undefined where none came */
export function voiceRefusal(error) {
  // What a file begins with is for programmers.
  const message = error?.message?.replace(/, got a file that begins with .*$/, "");
  if (error?.code === "invalid_voice") return `This clip cannot be used: ${message}.`;
  return VOICE_WORDS[error?.code ?? ""] ?? "The clip did not get through. Try again.";
}

/**
 * @param {string} code a key of the table above; an unknown one becomes `unexpected`
 * @param {string} [detail] the service's own words, put after the advice
 * @returns {Problem}
 */
export function problem(code, detail = "") {
  const known = Object.hasOwn(WORDS, code) ? code : "unexpected";
  const [title, advice] = WORDS[known];
  return { code: known, title, advice: detail ? `${advice} (${detail})` : advice };
}

/** A problem as an exception. */
export class CallProblem extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

/**
 * Why the browser gave no microphone or camera.
 * @param {unknown} error what `getUserMedia` raised
 * @param {"microphone" | "camera"} device
 */
export function mediaProblem(error, device) {
  const name = error instanceof DOMException ? error.name : "";
  const camera = device === "camera";
  if (name === "NotAllowedError" || name === "SecurityError") return problem(`${device}_denied`);
  if (name === "NotFoundError" || name === "OverconstrainedError") return problem(camera ? "no_camera" : "no_microphone");
  if (name === "NotReadableError" || name === "AbortError") return problem(`${device}_busy`);
  return problem(camera ? "no_camera" : "microphone_failed");
}

/**
 * Why the gateway took no call.
 * @param {number} status of the HTTP answer
 * @param {{error?: {code?: string, message?: string}} | null} body
 */
export function refusalProblem(status, body) {
  const code = body?.error?.code ?? "";
  if (status === 403 || status === 421) return problem("wrong_origin");
  if (code === "unknown_ticket") return problem("place_lost");
  if (code === "server_full") return problem("server_full");
  if (status === 503) return problem("model_server_unavailable", body?.error?.message);
  return problem("refused", body?.error?.message ?? `status ${status}`);
}

/** What keeps a call from being tried at all, or null. @param {Window & typeof globalThis} page */
export function environmentProblem(page) {
  if (!page.isSecureContext) return problem("insecure_origin");
  if (!("RTCPeerConnection" in page) || !page.navigator.mediaDevices) return problem("unsupported_browser");
  return null;
}
