// OpenClaw's reference client for the WebSocket protocol, and one as strict as those of protocol 3.

import crypto from "node:crypto";
import { GatewayClient } from "@openclaw/gateway-client";
import WebSocket from "ws";
import { run } from "./job.mjs";

const SCOPES = ["admin", "read", "write", "approvals", "questions"].map((scope) => `operator.${scope}`);
const WAIT_MS = 20_000;

const b64url = (data) => Buffer.from(data).toString("base64url");

function newDevice() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  return {
    raw,
    id: crypto.createHash("sha256").update(raw).digest("hex"),
    publicPem: publicKey.export({ type: "spki", format: "pem" }),
    privatePem: privateKey.export({ type: "pkcs8", format: "pem" }),
    sign: (text) => b64url(crypto.sign(null, Buffer.from(text), privateKey)),
  };
}

/** Something that happens again and again, and can be waited for. */
class Happenings {
  #waiting = [];
  list = [];

  add(value) {
    this.list.push(value);
    this.#waiting.splice(0).forEach((look) => look());
  }

  /** Wait until `fits` is true of one of them, those of before included. */
  async until(fits, what) {
    const overdue = Date.now() + WAIT_MS;
    for (;;) {
      const found = this.list.find(fits);
      if (found !== undefined) return found;
      if (Date.now() > overdue) throw new Error(`waited in vain for ${what}`);
      await new Promise((look) => {
        this.#waiting.push(look);
        setTimeout(look, 1_000).unref();
      });
    }
  }
}

/** The reference client. */
function reference(job, device, told) {
  const identity = device && {
    deviceIdentity: { deviceId: device.id, publicKeyPem: device.publicPem, privateKeyPem: device.privatePem },
    hostDeps: {
      signDevicePayload: (_pem, payload) => device.sign(payload),
      publicKeyRawBase64UrlFromPem: () => b64url(device.raw),
      storeDeviceAuthToken: () => {},
      clearDeviceAuthToken: () => {},
    },
  };
  const client = new GatewayClient({
    url: job.url,
    ...(job.deviceToken ? { deviceToken: job.deviceToken } : { token: job.token }),
    minProtocol: job.protocol,
    maxProtocol: job.protocol,
    role: "operator",
    scopes: SCOPES,
    caps: ["tool-events"],
    ...identity,
    onHelloOk: (hello) => told.outcomes.add(hello),
    onConnectError: (error) => told.outcomes.add(error),
    onReconnectPaused: () => {},
    onGap: (gap) => told.failures.add(new Error(`gap: ${JSON.stringify(gap)}`)),
    onEvent: (event) => told.events.add(event),
  });
  client.start();
  return {
    request: (method, params, final) => client.request(method, params, { expectFinal: final }),
    stop: () => client.stop(),
  };
}

const FAULT = ["code", "message", "details", "retryable", "retryAfterMs"];
const KEYS = {
  event: ["type", "event", "payload", "seq", "stateVersion"],
  res: ["type", "id", "ok", "payload", "error"],
};
const closed = (value, keys) => Object.keys(value).every((key) => keys.includes(key));

/** Whether a client of protocol 3 takes a frame; what it does not take it drops, and waits for ever. */
function taken(frame) {
  if (!KEYS[frame.type] || !closed(frame, KEYS[frame.type])) return false;
  if (frame.type === "res") return typeof frame.id === "string" && (!frame.error || closed(frame.error, FAULT));
  const version = frame.stateVersion;
  return (
    typeof frame.event === "string" &&
    (frame.seq === undefined || Number.isInteger(frame.seq)) &&
    (version === undefined || closed(version, ["presence", "health"]))
  );
}

/** A client of its own that treats frames as clients of protocol 3 do, and connects again by itself. */
function strict(job, device, told) {
  const pending = new Map();
  let socket;
  let stopped = false;
  let counted = 0;
  let seen;

  const request = (method, params, final) =>
    new Promise((resolve, reject) => {
      const id = `${++counted}`;
      pending.set(id, { resolve, reject, final });
      socket.send(JSON.stringify({ type: "req", id, method, params }));
    });

  const connect = ({ nonce }) => {
    const client = { id: "cli", version: "2026.3.13", platform: "linux", mode: "cli" };
    const [token, at] = [job.deviceToken ?? job.token, Date.now()];
    const params = {
      minProtocol: job.protocol,
      maxProtocol: job.protocol,
      client,
      caps: ["tool-events"],
      auth: { token },
      role: "operator",
      scopes: SCOPES,
    };
    if (device) {
      const line = ["v3", device.id, client.id, client.mode, "operator", SCOPES.join(","), at, token, nonce, "linux", ""];
      params.device = {
        id: device.id,
        publicKey: b64url(device.raw),
        signature: device.sign(line.join("|")),
        signedAt: at,
        nonce,
      };
    }
    request("connect", params).then(
      (hello) => told.outcomes.add(hello),
      (error) => told.outcomes.add(error),
    );
  };

  const take = (frame) => {
    if (!taken(frame)) return told.failures.add(new Error(`dropped: ${JSON.stringify(frame)}`));
    if (frame.type === "event") {
      if (frame.event === "connect.challenge") return connect(frame.payload);
      if (frame.seq !== undefined) {
        if (seen !== undefined && frame.seq !== seen + 1) told.failures.add(new Error("gap"));
        seen = frame.seq;
      }
      return told.events.add(frame);
    }
    const call = pending.get(frame.id);
    if (!call || (call.final && frame.payload?.status === "accepted")) return undefined;
    pending.delete(frame.id);
    if (frame.ok) return call.resolve(frame.payload);
    return call.reject(Object.assign(new Error(frame.error.message), frame.error));
  };

  const open = () => {
    if (stopped) return;
    seen = undefined;
    socket = new WebSocket(job.url);
    socket.on("message", (data) => take(JSON.parse(data)));
    socket.on("error", () => {});
    socket.on("close", () => setTimeout(open, 200).unref());
  };
  open();
  return {
    request,
    stop: () => {
      stopped = true;
      socket.close();
    },
  };
}

const clients = new Map();
const devices = new Map();
const kinds = { reference, strict };

const doings = {
  /** Connect a client; `device` is a name, the same one is the same device. */
  async open(job) {
    if (job.device && !devices.has(job.device)) devices.set(job.device, newDevice());
    const told = { outcomes: new Happenings(), failures: new Happenings(), events: new Happenings() };
    const client = kinds[job.kind](job, devices.get(job.device), told);
    clients.set(job.id, { ...client, told, started: new Map() });
    const outcome = await told.outcomes.until(() => true, "hello-ok or a refusal");
    if (outcome instanceof Error) {
      client.stop();
      throw outcome;
    }
    return outcome;
  },

  request: (job) => clients.get(job.id).request(job.method, job.params, job.final),

  /** Send a request without waiting; `finish` waits. */
  start(job) {
    const client = clients.get(job.id);
    const response = client.request(job.method, job.params, job.final);
    response.catch(() => {});
    client.started.set(job.name, response);
    return null;
  },

  finish: (job) => clients.get(job.id).started.get(job.name),

  /** Wait for an event whose payload has these values. */
  event: (job) =>
    clients
      .get(job.id)
      .told.events.until(
        ({ event, payload }) =>
          event === job.event && Object.entries(job.having).every(([key, value]) => payload[key] === value),
        `${job.event} ${JSON.stringify(job.having)}`,
      ),

  events: (job) => clients.get(job.id).told.events.list,

  /** Wait for the hello after the first. */
  again: (job) => {
    const { outcomes } = clients.get(job.id).told;
    return outcomes.until((outcome) => outcome !== outcomes.list[0] && !(outcome instanceof Error), "another hello-ok");
  },

  /** Stop a client; tells what went wrong that no request was told of. */
  stop(job) {
    const client = clients.get(job.id);
    client.stop();
    clients.delete(job.id);
    return client.told.failures.list.map((error) => error.message);
  },
};

await run(doings, (error) =>
  JSON.stringify({ code: error.gatewayCode ?? error.code, message: error.message, details: error.details }),
);
