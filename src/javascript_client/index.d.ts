// Types of the package: its functions, and what they take and return.

export * from "./client.js";
export type * from "./types.js";
