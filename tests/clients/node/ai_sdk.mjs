// The AI SDK of Vercel: with its provider for servers that are compatible with OpenAI, and with OpenAI's own.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, RetryError, generateObject, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { monotonic, run, weather } from "./job.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const Temperature = z.object({ city: z.string(), degrees: z.number().int() });

// OpenAI's own provider asks for responses.
const providers = {
  "openai-compatible": (settings) =>
    createOpenAICompatible({ ...settings, name: "openclaw", includeUsage: true, supportsStructuredOutputs: true }),
  openai: createOpenAI,
};

const call = (job) => {
  const provider = providers[job.provider]({ baseURL: job.baseURL, apiKey: job.key, headers: job.headers });
  const options = job.user ? { user: job.user } : {};
  return {
    model: provider(job.model),
    prompt: job.prompt,
    maxRetries: job.retries,
    providerOptions: { openclaw: options, openai: options },
  };
};

const tools = {
  weather: tool({
    description: "Tell the weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: weather,
  }),
};

const tokens = (usage) => [usage.inputTokens, usage.outputTokens];

const doings = {
  async ask(job) {
    const { text, usage } = await generateText(call(job));
    return { text, tokens: tokens(usage) };
  },

  async stream(job) {
    const pieces = [];
    const result = streamText({ ...call(job), onError() {} });
    for await (const part of result.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") pieces.push(part.text);
    }
    return { text: await result.text, pieces, tokens: tokens(await result.usage) };
  },

  async loop(job) {
    const { text } = await generateText({ ...call(job), tools, stopWhen: isStepCount(3) });
    return text;
  },

  streamedLoop: (job) => streamText({ ...call(job), tools, stopWhen: isStepCount(3) }).text,

  async forced(job) {
    const { toolCalls } = await generateText({
      ...call(job),
      tools,
      toolChoice: { type: "tool", toolName: "weather" },
    });
    return [toolCalls[0].toolName, toolCalls[0].input];
  },

  async structured(job) {
    const { output } = await generateText({ ...call(job), output: Output.object({ schema: Temperature }) });
    const { object } = await generateObject({ ...call(job), schema: Temperature });
    if (JSON.stringify(object) !== JSON.stringify(output)) throw new Error("both ways have to agree");
    return output;
  },

  async abandon(job) {
    const leaving = new AbortController();
    const result = streamText({ ...call(job), abortSignal: leaving.signal });
    for await (const piece of result.textStream) if (piece) break;
    const left = monotonic();
    leaving.abort();
    return left;
  },
};

await run(doings, (error) => {
  const last = RetryError.isInstance(error) ? error.lastError : error;
  return APICallError.isInstance(last) ? `${last.name} ${last.statusCode}` : String(last.name ?? JSON.stringify(last));
});
