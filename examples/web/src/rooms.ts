/** In which kind of room the call is, and what is particular to it. */

import type { APIRequest, Transport } from "@pipecat-ai/client-js";

export interface Room {
  transport: Transport;
  /** How a bot is asked for; Pipecat's runner answers with a room and the person's own token. */
  start: APIRequest;
}

/** Find out what the bot's runner offers, and load what that needs. */
export async function openRoom(): Promise<Room> {
  return (await offered()).includes("daily") ? dailyRoom() : liveKitRoom();
}

async function offered(): Promise<string[]> {
  const response = await fetch("status");
  if (!response.ok) return ["daily"];
  const { transports } = (await response.json()) as { transports?: string[] };
  return transports ?? ["daily"];
}

async function dailyRoom(): Promise<Room> {
  const { DailyTransport } = await import("@pipecat-ai/daily-transport");
  return {
    // Without eval, which the page's content security policy forbids.
    transport: new DailyTransport({ dailyConfig: { avoidEval: true } }),
    start: request({ transport: "daily", createDailyRoom: true }),
  };
}

async function liveKitRoom(): Promise<Room> {
  const { LiveKitTransport } = await import("./livekit-transport");
  return {
    transport: new LiveKitTransport(),
    start: request({ transport: "livekit" }),
  };
}

function request(requestData: APIRequest["requestData"]): APIRequest {
  return { endpoint: new URL("start", document.baseURI), requestData };
}
