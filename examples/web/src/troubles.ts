/** What went wrong, for the person in front of the page: what it is, and what to do. */

import type { DeviceError } from "@pipecat-ai/client-js";

export interface Trouble {
  what: string;
  remedy: string;
}

const NAMES = { mic: "microphone", cam: "camera", speaker: "loudspeaker" };

/** Of a microphone, mostly. */
export function deviceTrouble(error: Pick<DeviceError, "devices" | "type">): Trouble {
  const device = NAMES[error.devices.includes("mic") ? "mic" : (error.devices[0] ?? "mic")];
  switch (error.type) {
    case "permissions":
      return {
        what: `The browser does not let this page use your ${device}, so you are not heard.`,
        remedy: "Allow it at the lock beside the page's address, and try again.",
      };
    case "in-use":
      return {
        what: `Another program is using your ${device}, so you are not heard.`,
        remedy: "End the other call or recording, and try again.",
      };
    case "not-found":
      return {
        what: `No ${device} was found, so you are not heard.`,
        remedy: "Plug one in, or switch it on, and try again.",
      };
    case "undefined-mediadevices":
      return {
        what: `This page cannot use your ${device}, so you are not heard.`,
        remedy: "Open it at an address that begins with https.",
      };
    default:
      return {
        what: `Your ${device} does not work, so you are not heard.`,
        remedy: "Choose another one in the browser's settings, and try again.",
      };
  }
}

/** A bot that said that it cannot go on; why is in its own log. */
export const BOT_TROUBLE: Trouble = {
  what: "Something went wrong at the other end, and the call has ended.",
  remedy: "Try again in a moment.",
};

/** A call that did not come about; the reason is for the console, not for the person. */
export function startTrouble(error: unknown): Trouble {
  console.error(error);
  const status = (error as { status?: number }).status;
  if (status === undefined) {
    return {
      what: "The call could not be connected.",
      remedy: "Check your connection, and try again.",
    };
  }
  return {
    what: "Nobody could be reached.",
    remedy: "Try again in a moment.",
  };
}
