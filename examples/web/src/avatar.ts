/** What the avatar is doing, as `AgentHumanRTVI` in the bot tells it. */

/** The states; `pipecat_agenthuman.AgentHumanRTVI` says what they mean. */
export type AvatarState = "absent" | "joining" | "ready" | "speaking" | "lost" | "returning";

export interface AvatarNews {
  state: AvatarState;
  /** One sentence for people. */
  reason: string;
  /** Its participant's id; null if the bot does not know. */
  avatar: string | null;
}

/** What is shown of a state in a few words. */
export const WORDS: Record<AvatarState, string> = {
  absent: "Voice only",
  joining: "The avatar is on its way",
  ready: "Listening",
  speaking: "Speaking",
  lost: "Voice only for a moment",
  returning: "Voice only, the avatar is coming back",
};

/** Read a server message; undefined if it is about something else. */
export function readAvatarNews(message: unknown): AvatarNews | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const { type, state, reason, avatar } = message as Record<string, unknown>;
  if (type !== "avatar-state" || typeof state !== "string" || !(state in WORDS)) return undefined;
  return {
    state: state as AvatarState,
    reason: typeof reason === "string" ? reason : "",
    avatar: typeof avatar === "string" ? avatar : null,
  };
}
