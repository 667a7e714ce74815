// `openai` for Node, with chat completions.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { monotonic, run, weather } from "./job.mjs";

const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const Temperature = z.object({ city: z.string(), degrees: z.number().int() });

const client = (job) =>
  new OpenAI({ baseURL: job.baseURL, apiKey: job.key, maxRetries: job.retries, defaultHeaders: job.headers });

const body = (job) => ({
  model: job.model,
  messages: [{ role: "user", content: job.prompt }],
  ...(job.user && { user: job.user }),
});

const tokens = (usage) => [usage.prompt_tokens, usage.completion_tokens];

const tools = [
  { type: "function", function: { function: weather, name: "weather", parse: JSON.parse, parameters } },
];

const doings = {
  async models(job) {
    const ids = [];
    for await (const model of client(job).models.list()) ids.push(model.id);
    return ids;
  },

  async ask(job) {
    const answer = await client(job).chat.completions.create(body(job));
    return { text: answer.choices[0].message.content, tokens: tokens(answer.usage) };
  },

  async stream(job) {
    const pieces = [];
    const stream = client(job).chat.completions.stream({
      ...body(job),
      stream_options: { include_usage: true },
    });
    stream.on("content", (piece) => pieces.push(piece));
    const text = await stream.finalContent();
    return { text, pieces, tokens: tokens(await stream.totalUsage()) };
  },

  loop: (job) => client(job).chat.completions.runTools({ ...body(job), tools }).finalContent(),

  streamedLoop: (job) => client(job).chat.completions.runTools({ ...body(job), tools, stream: true }).finalContent(),

  async forced(job) {
    const answer = await client(job).chat.completions.parse({
      ...body(job),
      tools: [{ type: "function", function: { name: "weather", strict: true, parameters } }],
      tool_choice: { type: "function", function: { name: "weather" } },
    });
    const [call] = answer.choices[0].message.tool_calls;
    return [call.function.name, call.function.parsed_arguments];
  },

  async structured(job) {
    const answer = await client(job).chat.completions.parse({
      ...body(job),
      response_format: zodResponseFormat(Temperature, "temperature"),
    });
    return answer.choices[0].message.parsed;
  },

  async abandon(job) {
    const stream = await client(job).chat.completions.create({ ...body(job), stream: true });
    for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
    return monotonic();
  },
};

await run(doings, (error) => error.constructor.name);
