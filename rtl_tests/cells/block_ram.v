// Two-port memory in bytes of 9 bits: what the block RAMs of ECP5 and of Xilinx 7-series have in common.
//
// Port 0 is A, port 1 is B; vectors hold port 0 in the lower half.  An address counts single bits of the
// 8 data bits of a byte, as both vendors do: a port of width 1, 2 or 4 reaches a part of the lower 8 bits
// of one byte, a port of width 9, 18, 36 or 72 reaches 1, 2, 4 or 8 whole bytes.
//
// A bit that one port reads while the other port writes it reads as x, unless the writing port's COLLISION_OLD
// is set: then it reads as it was.
module block_ram #(
    parameter ADDR_BITS = 14,
    parameter [9 * (1 << (ADDR_BITS - 3)) - 1:0] INIT = 0,     // first contents: bytes of 9 bits, or
    parameter [8 * (1 << (ADDR_BITS - 3)) - 1:0] DATA = 0,     // their lower 8 bits and
    parameter [(1 << (ADDR_BITS - 3)) - 1:0] PARITY = 0,       // their ninth bits apart
    parameter READ_WIDTH_A = 0,         // 0: the port does not read
    parameter READ_WIDTH_B = 0,
    parameter WRITE_WIDTH_A = 0,        // 0: the port does not write
    parameter WRITE_WIDTH_B = 0,
    parameter MODE_A = 0,               // output of a writing port: 0 holds, 1 the new data, 2 the old data
    parameter MODE_B = 0,
    parameter [71:0] OUT_INIT_A = 0,
    parameter [71:0] OUT_INIT_B = 0,
    parameter [71:0] OUT_RESET_A = 0,
    parameter [71:0] OUT_RESET_B = 0,
    parameter COLLISION_OLD_A = 0,
    parameter COLLISION_OLD_B = 0,
    parameter RESET_NEEDS_ENABLE = 0,
    parameter RESET_BLOCKS_WRITE = 0
) (
    input [1:0] clk,
    input [1:0] en,
    input [1:0] rst,
    input [31:0] addr,
    input [15:0] we,                    // one per byte
    input [143:0] din,
    output [143:0] dout
);
    localparam BYTES = 1 << (ADDR_BITS - 3);

    reg [8:0] mem [0:BYTES - 1];
    integer n;
    initial for (n = 0; n < BYTES; n = n + 1) mem[n] = INIT[9 * n +: 9] | {PARITY[n], DATA[8 * n +: 8]};

    function integer bytes_of(input integer width);
        bytes_of = width >= 9 ? width / 9 : 1;
    endfunction

    // First byte of the word at a bit address.
    function integer base_of(input integer width, input [ADDR_BITS - 1:0] a);
        base_of = (a >> 3) & ~(bytes_of(width) - 1);
    endfunction

    // The bits of byte b that a write sets.
    function [8:0] mask_of(input integer width, input [ADDR_BITS - 1:0] a, input [7:0] enables, input integer b);
        integer k;
        begin
            k = b - base_of(width, a);
            mask_of = 0;
            if (width > 0 && k >= 0 && k < bytes_of(width) && enables[k])
                mask_of = width >= 9 ? 9'h1ff : ((1 << width) - 1) << (a & 7 & ~(width - 1));
        end
    endfunction

    // What a write puts into byte b.
    function [8:0] data_of(input integer width, input [ADDR_BITS - 1:0] a, input [71:0] word, input integer b);
        data_of = width >= 9 ? word[9 * (b - base_of(width, a)) +: 9] : word[7:0] << (a & 7 & ~(width - 1));
    endfunction

    genvar p;
    generate
        for (p = 0; p < 2; p = p + 1) begin : port
            localparam READ = p ? READ_WIDTH_B : READ_WIDTH_A;
            localparam WRITE = p ? WRITE_WIDTH_B : WRITE_WIDTH_A;
            localparam MODE = p ? MODE_B : MODE_A;
            localparam OTHER_WRITE = p ? WRITE_WIDTH_A : WRITE_WIDTH_B;
            localparam OTHER_OLD = p ? COLLISION_OLD_A : COLLISION_OLD_B;
            localparam o = 1 - p;

            wire [ADDR_BITS - 1:0] a = addr[16 * p +: ADDR_BITS];
            wire [ADDR_BITS - 1:0] other_a = addr[16 * o +: ADDR_BITS];
            wire [7:0] w = en[p] && WRITE > 0 && !(RESET_BLOCKS_WRITE && rst[p]) ? we[8 * p +: 8] : 8'h00;
            wire [7:0] other_w =
                en[o] && OTHER_WRITE > 0 && !(RESET_BLOCKS_WRITE && rst[o]) ? we[8 * o +: 8] : 8'h00;
            wire [71:0] d = din[72 * p +: 72];
            reg [71:0] out = p ? OUT_INIT_B : OUT_INIT_A;
            assign dout[72 * p +: 72] = out;

            integer i, b;
            reg [8:0] value, mask, clash;
            reg [71:0] word;
            always @(posedge clk[p]) begin
                // The read looks at the memory before any write of this edge: writes are non-blocking.
                if (READ > 0 && rst[p] && (en[p] || !RESET_NEEDS_ENABLE))
                    out <= p ? OUT_RESET_B : OUT_RESET_A;
                else if (READ > 0 && en[p] && !(MODE == 0 && |(w & ((1 << bytes_of(WRITE)) - 1)))) begin
                    word = 0;
                    for (i = 0; i < bytes_of(READ); i = i + 1) begin
                        b = base_of(READ, a) + i;
                        value = mem[b];
                        if (MODE == 1) begin
                            mask = mask_of(WRITE, a, w, b);
                            value = (value & ~mask) | (data_of(WRITE, a, d, b) & mask);
                        end
                        if (clk[0] === clk[1] && !OTHER_OLD) begin
                            clash = mask_of(OTHER_WRITE, other_a, other_w, b);
                            value = (value & ~clash) | (9'hxxx & clash);
                        end
                        word[9 * i +: 9] = value;
                    end
                    if (READ < 9) word = (word[8:0] >> (a & 7 & ~(READ - 1))) & ((1 << READ) - 1);
                    out <= word;
                end
                if (WRITE > 0)
                    for (i = 0; i < bytes_of(WRITE); i = i + 1) begin
                        b = base_of(WRITE, a) + i;
                        mask = mask_of(WRITE, a, w, b);
                        if (mask != 0) mem[b] <= (mem[b] & ~mask) | (data_of(WRITE, a, d, b) & mask);
                    end
            end
        end
    endgenerate
endmodule
