import { usePipecatClient } from "@pipecat-ai/client-react";
import { useEffect } from "react";
import { playVoices } from "./voices";

/** In the place of PipecatClientAudio. */
export function Voices() {
  const client = usePipecatClient();
  useEffect(() => (client ? playVoices(client) : undefined), [client]);
  return null;
}
