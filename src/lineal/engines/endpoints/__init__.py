"""Models behind servers that speak the OpenAI API: who is asked, what is sent, what comes back, what it costs."""
