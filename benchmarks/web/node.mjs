// A bundle's folder in Node.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Bert } from "./bertedge.mjs";

const RUNTIMES = {
  node: { name: "onnxruntime-node", options: {} },
  web: { name: "onnxruntime-web", options: { executionProviders: ["wasm"] } },
};

/** The package's module; "node" is native, "web" is the WebAssembly that a browser runs. */
export async function importRuntime(runtime) {
  if (!(runtime in RUNTIMES)) throw new Error(`runtime ${runtime} is not known: node or web`);
  process.env.ORT_DISABLE_TELEMETRY ??= "1"; // read when the package is loaded; see bertedge/__init__.py
  const module = await import(RUNTIMES[runtime].name);
  const ort = module.default ?? module;
  ort.env.logLevel = "error";
  // its threads in Node stay alive and keep the process from ending
  if (runtime === "web") ort.env.wasm.numThreads = 1;
  return ort;
}

export async function load(folder, runtime = "node") {
  const ort = await importRuntime(runtime);
  return Bert.load(ort, (name) => readFile(join(folder, name)), RUNTIMES[runtime].options);
}
