/* edgemse for what cannot run Python: C99, nothing but freestanding headers, no malloc.

   Counts the errors of a model in cells of fixed size, makes the same bytes of them as Python's
   ErrorStats does of the same calls, packs them into reports and reads the collector's acks. It
   has no clock, no network and no randomness: those are handed in. docs/c.md is its manual,
   docs/wire.md tells every byte. Copy this folder's .h files and include this one. */
#ifndef EDGEMSE_H
#define EDGEMSE_H

#ifndef EDGEMSE_BUCKETS
#define EDGEMSE_BUCKETS 0 /* of the histogram, a sign: 0 for none, or a power of two, 8 to 512 */
#endif
#ifndef EDGEMSE_CELLS
#define EDGEMSE_CELLS 8 /* held at a time, growing ones and those that wait for their ack */
#endif
#if EDGEMSE_BUCKETS & (EDGEMSE_BUCKETS - 1) || EDGEMSE_BUCKETS > 512 \
    || (EDGEMSE_BUCKETS && EDGEMSE_BUCKETS < 8)
#error "EDGEMSE_BUCKETS: wanted 0 or a power of two from 8 to 512"
#endif
#if EDGEMSE_CELLS < 1 || EDGEMSE_CELLS > 4096
#error "EDGEMSE_CELLS: wanted 1 to 4096, the most cells that a report may carry"
#endif

#include "edgemse_moments.h" /* what is computed */
#include "edgemse_state.h"   /* samples in, the state's bytes out */
#include "edgemse_cells.h"   /* names and revisions of what travels */
#include "edgemse_wire.h"    /* reports and acks */
#include "edgemse_link.h"    /* topics, and who listens */

#endif
