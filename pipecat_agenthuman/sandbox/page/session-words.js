// Sessions in words for a person. Pure.

const ENDINGS = {
  "end request": "Ended by its bot",
  "client closed the socket": "Ended: its bot closed the connection",
  "socket lost": "Ended: the connection was lost",
  "server closed the socket": "Ended: the service closed the connection",
  expired: "Expired",
  "without a client": "Ended: its bot was gone for too long",
  "never connected": "Ended: no bot ever connected",
  "sandbox closed": "Ended with the sandbox",
};

/** The end of a session's ID, enough to tell sessions apart. */
export const shortId = (sessionId) => `…${sessionId.slice(-6)}`;

/** What stands for an avatar: its ID, or what kind of picture it is. */
export function avatarName(avatar) {
  if (avatar.startsWith("data:")) return "a picture";
  if (/^https?:/.test(avatar)) return avatar.replace(/^https?:\/\//, "").slice(0, 32);
  return avatar;
}

/** How long a time is, short: 4.2 s, 1:05. */
export function duration(secs) {
  if (secs < 60) return `${secs.toFixed(1)} s`;
  return `${Math.floor(secs / 60)}:${String(Math.floor(secs % 60)).padStart(2, "0")}`;
}

/**
 * What a session is doing.
 *
 * Returns a `tone` ("idle", "speaking", "waiting", "ended"), a `label` for its pill, and a `sentence`
 * where the label alone would leave a question open.
 */
export function describeSession(session, { sounds, ownVoice, activity, successor, now }) {
  if (ownVoice) {
    const isBack = session !== null && session.avatar_in_room;
    const then = isBack ? "The avatar takes over at the next utterance." : "There is no avatar to speak through.";
    return { tone: "speaking", label: "Own voice", sentence: `The bot goes on with its own voice. ${then}` };
  }
  if (session === null) return { tone: "waiting", label: "Empty", sentence: null };
  if (session.status === "ended") {
    const took = successor ? `${shortId(successor.session_id)} took over from it.` : null;
    const label = successor ? "Renewed" : (ENDINGS[session.ended_by] ?? "Ended");
    const lasted = `It lasted ${duration(session.ended_at_secs - session.created_at_secs)}.`;
    const why = successor ? `${ENDINGS[session.ended_by] ?? "Ended"}. ${took}` : null;
    return { tone: "ended", label, sentence: [why, lasted].filter(Boolean).join(" ") };
  }
  if (!session.avatar_in_room) {
    const isJoining = session.joins_at_secs === null || now < session.joins_at_secs;
    if (isJoining && session.joins_at_secs !== null) {
      return { tone: "waiting", label: "On its way", sentence: "The avatar has not joined the room yet." };
    }
    return { tone: "waiting", label: "Not in the room", sentence: "The avatar is not in the room: nobody sees or hears it." };
  }
  if (session.connected_at_secs === null) {
    return { tone: "waiting", label: "Waiting", sentence: "No bot has connected to this session yet." };
  }
  if (sounds) return { tone: "speaking", label: "Speaking", sentence: null };
  if (activity.user_is_speaking) return { tone: "listening", label: "Listening", sentence: null };
  if (activity.bot_is_thinking) return { tone: "waiting", label: "Thinking", sentence: null };
  return { tone: "idle", label: "Idle", sentence: null };
}
