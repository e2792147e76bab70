"""The ceiling: what FastAPI does for a route that asks for nothing and answers with a small dict."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": "world"}
