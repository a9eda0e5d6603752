"""The agent: reads the sensors of one host and delivers what they add up to."""
