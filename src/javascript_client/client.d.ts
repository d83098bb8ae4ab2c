/** Create a client; one for each page shares refreshes. @param {Types.ClientOptions} [options] @returns {Types.Client} */
export function createClient(options?: Types.ClientOptions): Types.Client;
/**
 * All items of a list, page by page: `for await (const event of allItems(auth.listHistory)) …`
 *
 * @template T
 * @param {(query: Types.PageOptions) => Promise<Types.Page<T>>} list
 */
export function allItems<T>(list: (query: Types.PageOptions) => Promise<Types.Page<T>>): AsyncGenerator<Awaited<T>, void, unknown>;
/** An error answer of the service, or a request that got no answer. Compare `code`, which is stable. */
export class ApiError extends Error {
    /**
     * @param {number} status 0 without an answer
     * @param {Types.ErrorDetails} details
     * @param {{ requestId?: string | null, cause?: unknown }} [more]
     */
    constructor(status: number, details: Types.ErrorDetails, { requestId, cause }?: {
        requestId?: string | null;
        cause?: unknown;
    });
    status: number;
    /** Also `network_error`: no answer; `answer_unreadable`: not an answer of the service. */
    code: string;
    fields: {
        field: string;
        reason: "missing" | "unexpected" | "repeated" | "two_places" | "exclusive" | "malformed" | "wrong_type" | "too_short" | "too_long" | "too_small" | "too_large" | "unknown_value" | "nul_character" | "email_invalid" | "email_has_spaces" | "email_not_ascii" | "email_has_joiners" | "code_invalid" | "cursor_invalid" | "control_characters" | "common" | "guessable" | "context" | "unchanged";
        msg: string;
    }[];
    retryAfter: number | null;
    details: Types.ErrorDetails;
    requestId: string | null;
    /** Whether the user has to sign in: there is no session, or it has ended. */
    get needsSignIn(): boolean;
}
import type * as Types from "./types.js";
