"""Models behind servers that speak the OpenAI API: addresses, requests, answers and costs."""
