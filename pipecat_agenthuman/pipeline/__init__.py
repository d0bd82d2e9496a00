"""Where client and playout meet Pipecat: the parts behind ``AgentHumanVideoService``."""
