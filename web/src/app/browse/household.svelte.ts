/** Who watches on this device, as the server knows it: the page shows it and decides nothing by it. */

import { ApiError } from "../../player";
import { language } from "../state.svelte";
import { browse, type Household, type Profile } from "./requests";

class HouseholdState {
  #household: Household | undefined = $state();

  /** Undefined for a stranger, and until the server has said. */
  get now(): Household | undefined {
    return this.#household;
  }

  /** Who watches; undefined while that is not known. */
  get profile(): Profile | undefined {
    return this.#household?.profiles.find(({ id }) => id === this.#household?.current);
  }

  /** Nobody has said who watches here, and there are several who might. */
  get asks(): boolean {
    return this.#household !== undefined && !this.#household.chosen && this.#household.profiles.length > 1;
  }

  /** Asks the server; one that cannot be reached changes nothing. */
  async refresh(): Promise<void> {
    try {
      this.set(await browse.household());
    } catch (error) {
      if (error instanceof ApiError && error.kind !== "offline") this.#household = undefined;
    }
  }

  /** Takes an answer of the server's; the pages follow the profile's language. */
  set(household: Household): void {
    const before = this.profile;
    this.#household = household;
    const now = this.profile;
    if (now?.language && (before?.id !== now.id || before.language !== now.language)) language.follow(now.language);
  }

  /** Nobody is signed in any more. */
  forget(): void {
    this.#household = undefined;
  }
}

/** The household of whoever is signed in. */
export const household = new HouseholdState();
