"""Sampling by vLLM, in a process and an interpreter of its own."""
