"""The baseline: what FastAPI does for a route that reads nothing and returns a small dict."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": "world"}
