/** Who is in a group of the classic protocol, who was told an id and has not joined yet, and who somebody really is. */
import { ErrorCode } from "../../protocol/errors.ts";
import { type ClassicMember, commonProtocols } from "./classic-member.ts";
import type { Identity } from "./classic-request.ts";

export class Roster implements Iterable<ClassicMember> {
  readonly #members = new Map<string, ClassicMember>();
  /** Member id by instance id, of static members. */
  readonly #static = new Map<string, string>();
  /** Told an id and not joined yet: until when (monotonic ms). */
  readonly #invited = new Map<string, number>();

  get size(): number {
    return this.#members.size;
  }
  get isEmpty(): boolean {
    return this.#members.size === 0;
  }
  get invitedCount(): number {
    return this.#invited.size;
  }
  [Symbol.iterator](): Iterator<ClassicMember> {
    return this.#members.values();
  }
  get(id: string): ClassicMember | undefined {
    return this.#members.get(id);
  }
  /** The member id behind an instance id. */
  byInstance(instanceId: string): string | undefined {
    return this.#static.get(instanceId);
  }

  add(member: ClassicMember): void {
    this.#invited.delete(member.id);
    this.#members.set(member.id, member);
    if (member.instanceId !== null) this.#static.set(member.instanceId, member.id);
  }

  remove(member: ClassicMember): void {
    this.#members.delete(member.id);
    if (member.instanceId !== null) this.#static.delete(member.instanceId);
  }

  clear(): void {
    this.#members.clear();
    this.#static.clear();
  }

  invite(id: string, deadlineMs: number): void {
    this.#invited.set(id, deadlineMs);
  }
  isInvited(id: string): boolean {
    return this.#invited.has(id);
  }
  /** Returns whether it was invited. */
  uninvite(id: string): boolean {
    return this.#invited.delete(id);
  }
  /** Returns whether an invitation ran out. */
  uninviteLate(nowMs: number): boolean {
    let ranOut = false;
    for (const [id, deadlineMs] of this.#invited) {
      if (deadlineMs <= nowMs) ranOut = this.#invited.delete(id);
    }
    return ranOut;
  }

  /** Whether there is no place for somebody of this id. */
  isFull(id: string, membersMax: number): boolean {
    if (this.#members.has(id)) return false;
    const invited = this.#invited.size - (this.#invited.has(id) ? 1 : 0);
    return this.#members.size + invited >= membersMax;
  }

  /** NONE: it is a member, and the one that its instance id names (KIP-345). */
  verify({ memberId, instanceId }: Identity): ErrorCode {
    if (instanceId !== null) {
      const id = this.#static.get(instanceId);
      if (id === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (id !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    return this.#members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID;
  }

  /** Whether all could divide partitions together with somebody who offers these. */
  sharesProtocol(names: readonly string[]): boolean {
    const common = commonProtocols(this.#members.values());
    return names.some((name) => common.has(name));
  }

  get allJoining(): boolean {
    for (const { joining } of this.#members.values()) if (joining === null) return false;
    return true;
  }

  get firstJoining(): ClassicMember | undefined {
    for (const member of this.#members.values()) if (member.joining !== null) return member;
    return undefined;
  }

  /** The longest that a member wants to be waited for. */
  get rebalanceTimeoutMs(): number {
    let longest = 0;
    for (const member of this.#members.values()) longest = Math.max(longest, member.rebalanceTimeoutMs);
    return longest;
  }

  /** Monotonic; `Infinity`: nobody's time runs out. */
  get nextDeadlineMs(): number {
    let next = Infinity;
    for (const deadlineMs of this.#invited.values()) next = Math.min(next, deadlineMs);
    for (const { deadlineMs } of this.#members.values()) next = Math.min(next, deadlineMs);
    return next;
  }
}
