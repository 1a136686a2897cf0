// Behaviour of the ECP5 cells that Yosys infers and ships no model of.
// Sources: Lattice TN1264 (memory usage) and TN1267 (sysDSP), as far as Yosys uses the cells.

// A multiplier with its optional registers: operands A and B, the pipeline in its middle, the result.
// All take clock, enable and reset 0; other choices, operand C, and the shift chains are not modelled.
module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTB_CE = "CE0";
    parameter REG_INPUTB_RST = "RST0";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_PIPELINE_CE = "CE0";
    parameter REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter REG_OUTPUT_CE = "CE0";
    parameter REG_OUTPUT_RST = "RST0";
    parameter GSR = "DISABLED";

    initial begin
        if ((REG_INPUTA_CLK != "NONE" && REG_INPUTA_CLK != "CLK0")
            || (REG_INPUTB_CLK != "NONE" && REG_INPUTB_CLK != "CLK0")
            || (REG_PIPELINE_CLK != "NONE" && REG_PIPELINE_CLK != "CLK0")
            || (REG_OUTPUT_CLK != "NONE" && REG_OUTPUT_CLK != "CLK0") || REG_INPUTC_CLK != "NONE")
            $fatal(1, "MULT18X18D: only clock 0 is modelled, and no register of C");
        if (REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0" || REG_PIPELINE_CE != "CE0" || REG_OUTPUT_CE != "CE0"
            || REG_INPUTA_RST != "RST0" || REG_INPUTB_RST != "RST0" || REG_PIPELINE_RST != "RST0"
            || REG_OUTPUT_RST != "RST0")
            $fatal(1, "MULT18X18D: only enable 0 and reset 0 are modelled");
    end
    always @*
        if (SOURCEA === 1'b1 || SOURCEB === 1'b1) $fatal(1, "MULT18X18D: shifted operands are not modelled");

    wire [17:0] a = {
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    };
    wire [17:0] b = {
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    };
    // One more bit holds either sort of operand as a signed number.
    wire signed [18:0] wide_a = {SIGNEDA & a[17], a};
    wire signed [18:0] wide_b = {SIGNEDB & b[17], b};
    wire signed [18:0] in_a, in_b;
    wire signed [37:0] product = in_a * in_b;
    wire [37:0] middle, result;
    ecp5_register #(.WIDTH(19), .USED(REG_INPUTA_CLK != "NONE")) reg_a (CLK0, CE0, RST0, wide_a, in_a);
    ecp5_register #(.WIDTH(19), .USED(REG_INPUTB_CLK != "NONE")) reg_b (CLK0, CE0, RST0, wide_b, in_b);
    ecp5_register #(.WIDTH(38), .USED(REG_PIPELINE_CLK != "NONE")) reg_p (CLK0, CE0, RST0, product, middle);
    ecp5_register #(.WIDTH(38), .USED(REG_OUTPUT_CLK != "NONE")) reg_o (CLK0, CE0, RST0, middle, result);
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14,
        P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = result[35:0];
endmodule

// A register with enable and reset, or a wire.
module ecp5_register #(parameter WIDTH = 1, parameter USED = 0) (
    input clk, ce, rst,
    input [WIDTH - 1:0] d,
    output [WIDTH - 1:0] q
);
    reg [WIDTH - 1:0] held;
    always @(posedge clk)
        if (rst) held <= 0;
        else if (ce) held <= d;
    assign q = USED ? held : d;
endmodule

// Block RAM of 2048 bytes of 9 bits.  Two ports of 1, 2, 4, 9 or 18 bits; or, 36 bits wide, a write port A and a
// read port B that borrow each other's data pins.  With 18 bits and more the lowest address bits are byte enables.
// A memory word of 18 bits is 20 bits of INITVAL apart.
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
    DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
    DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
    DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
    DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 320'h0;
    parameter [319:0] INITVAL_01 = 320'h0;
    parameter [319:0] INITVAL_02 = 320'h0;
    parameter [319:0] INITVAL_03 = 320'h0;
    parameter [319:0] INITVAL_04 = 320'h0;
    parameter [319:0] INITVAL_05 = 320'h0;
    parameter [319:0] INITVAL_06 = 320'h0;
    parameter [319:0] INITVAL_07 = 320'h0;
    parameter [319:0] INITVAL_08 = 320'h0;
    parameter [319:0] INITVAL_09 = 320'h0;
    parameter [319:0] INITVAL_0A = 320'h0;
    parameter [319:0] INITVAL_0B = 320'h0;
    parameter [319:0] INITVAL_0C = 320'h0;
    parameter [319:0] INITVAL_0D = 320'h0;
    parameter [319:0] INITVAL_0E = 320'h0;
    parameter [319:0] INITVAL_0F = 320'h0;
    parameter [319:0] INITVAL_10 = 320'h0;
    parameter [319:0] INITVAL_11 = 320'h0;
    parameter [319:0] INITVAL_12 = 320'h0;
    parameter [319:0] INITVAL_13 = 320'h0;
    parameter [319:0] INITVAL_14 = 320'h0;
    parameter [319:0] INITVAL_15 = 320'h0;
    parameter [319:0] INITVAL_16 = 320'h0;
    parameter [319:0] INITVAL_17 = 320'h0;
    parameter [319:0] INITVAL_18 = 320'h0;
    parameter [319:0] INITVAL_19 = 320'h0;
    parameter [319:0] INITVAL_1A = 320'h0;
    parameter [319:0] INITVAL_1B = 320'h0;
    parameter [319:0] INITVAL_1C = 320'h0;
    parameter [319:0] INITVAL_1D = 320'h0;
    parameter [319:0] INITVAL_1E = 320'h0;
    parameter [319:0] INITVAL_1F = 320'h0;
    parameter [319:0] INITVAL_20 = 320'h0;
    parameter [319:0] INITVAL_21 = 320'h0;
    parameter [319:0] INITVAL_22 = 320'h0;
    parameter [319:0] INITVAL_23 = 320'h0;
    parameter [319:0] INITVAL_24 = 320'h0;
    parameter [319:0] INITVAL_25 = 320'h0;
    parameter [319:0] INITVAL_26 = 320'h0;
    parameter [319:0] INITVAL_27 = 320'h0;
    parameter [319:0] INITVAL_28 = 320'h0;
    parameter [319:0] INITVAL_29 = 320'h0;
    parameter [319:0] INITVAL_2A = 320'h0;
    parameter [319:0] INITVAL_2B = 320'h0;
    parameter [319:0] INITVAL_2C = 320'h0;
    parameter [319:0] INITVAL_2D = 320'h0;
    parameter [319:0] INITVAL_2E = 320'h0;
    parameter [319:0] INITVAL_2F = 320'h0;
    parameter [319:0] INITVAL_30 = 320'h0;
    parameter [319:0] INITVAL_31 = 320'h0;
    parameter [319:0] INITVAL_32 = 320'h0;
    parameter [319:0] INITVAL_33 = 320'h0;
    parameter [319:0] INITVAL_34 = 320'h0;
    parameter [319:0] INITVAL_35 = 320'h0;
    parameter [319:0] INITVAL_36 = 320'h0;
    parameter [319:0] INITVAL_37 = 320'h0;
    parameter [319:0] INITVAL_38 = 320'h0;
    parameter [319:0] INITVAL_39 = 320'h0;
    parameter [319:0] INITVAL_3A = 320'h0;
    parameter [319:0] INITVAL_3B = 320'h0;
    parameter [319:0] INITVAL_3C = 320'h0;
    parameter [319:0] INITVAL_3D = 320'h0;
    parameter [319:0] INITVAL_3E = 320'h0;
    parameter [319:0] INITVAL_3F = 320'h0;

    initial
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") $fatal(1, "DP16KD: chip selects are not modelled");
        else if (WIDE_B && REGMODE_A != REGMODE_B) $fatal(1, "DP16KD: half of a word with output registers");
    always @(RSTA or RSTB)
        if (RESETMODE != "SYNC" && (RSTA || RSTB)) $fatal(1, "DP16KD: asynchronous reset is not modelled");

    function integer mode_of(input [8 * 15 - 1:0] name);
        mode_of = name == "WRITETHROUGH" ? 1 : name == "READBEFOREWRITE" ? 2 : 0;
    endfunction

    function [287:0] packed_words(input [319:0] slice);
        integer i;
        for (i = 0; i < 16; i = i + 1) packed_words[18 * i +: 18] = slice[20 * i +: 18];
    endfunction

    localparam WIDE_A = DATA_WIDTH_A == 36;
    localparam WIDE_B = DATA_WIDTH_B == 36;

    wire [13:0] ada = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    wire [13:0] adb = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    wire [17:0] dia = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
        DIA0
    };
    wire [17:0] dib = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
        DIB0
    };
    wire [71:0] do_a, do_b;
    wire [7:0] we_a = WEA ? (WIDE_A ? ada[3:0] : DATA_WIDTH_A == 18 ? ada[1:0] : 1) : 0;
    wire [7:0] we_b = WEB ? (DATA_WIDTH_B == 18 ? adb[1:0] : 1) : 0;

    block_ram #(
        .ADDR_BITS(14),
        .INIT({
            packed_words(INITVAL_3F), packed_words(INITVAL_3E), packed_words(INITVAL_3D), packed_words(INITVAL_3C),
            packed_words(INITVAL_3B), packed_words(INITVAL_3A), packed_words(INITVAL_39), packed_words(INITVAL_38),
            packed_words(INITVAL_37), packed_words(INITVAL_36), packed_words(INITVAL_35), packed_words(INITVAL_34),
            packed_words(INITVAL_33), packed_words(INITVAL_32), packed_words(INITVAL_31), packed_words(INITVAL_30),
            packed_words(INITVAL_2F), packed_words(INITVAL_2E), packed_words(INITVAL_2D), packed_words(INITVAL_2C),
            packed_words(INITVAL_2B), packed_words(INITVAL_2A), packed_words(INITVAL_29), packed_words(INITVAL_28),
            packed_words(INITVAL_27), packed_words(INITVAL_26), packed_words(INITVAL_25), packed_words(INITVAL_24),
            packed_words(INITVAL_23), packed_words(INITVAL_22), packed_words(INITVAL_21), packed_words(INITVAL_20),
            packed_words(INITVAL_1F), packed_words(INITVAL_1E), packed_words(INITVAL_1D), packed_words(INITVAL_1C),
            packed_words(INITVAL_1B), packed_words(INITVAL_1A), packed_words(INITVAL_19), packed_words(INITVAL_18),
            packed_words(INITVAL_17), packed_words(INITVAL_16), packed_words(INITVAL_15), packed_words(INITVAL_14),
            packed_words(INITVAL_13), packed_words(INITVAL_12), packed_words(INITVAL_11), packed_words(INITVAL_10),
            packed_words(INITVAL_0F), packed_words(INITVAL_0E), packed_words(INITVAL_0D), packed_words(INITVAL_0C),
            packed_words(INITVAL_0B), packed_words(INITVAL_0A), packed_words(INITVAL_09), packed_words(INITVAL_08),
            packed_words(INITVAL_07), packed_words(INITVAL_06), packed_words(INITVAL_05), packed_words(INITVAL_04),
            packed_words(INITVAL_03), packed_words(INITVAL_02), packed_words(INITVAL_01), packed_words(INITVAL_00)
        }),
        .READ_WIDTH_A(WIDE_A ? 0 : DATA_WIDTH_A),
        .READ_WIDTH_B(DATA_WIDTH_B),
        .WRITE_WIDTH_A(DATA_WIDTH_A),
        .WRITE_WIDTH_B(WIDE_B ? 0 : DATA_WIDTH_B),
        .MODE_A(mode_of(WRITEMODE_A)),
        .MODE_B(mode_of(WRITEMODE_B)),
        .RESET_BLOCKS_WRITE(1)
    ) ram (
        .clk({CLKB ^ (CLKBMUX == "INV"), CLKA ^ (CLKAMUX == "INV")}),
        .en({CEB, CEA}),
        .rst({RSTB, RSTA}),
        .addr({2'b00, adb, 2'b00, ada}),
        .we({we_b, we_a}),
        .din({54'h0, dib, 36'h0, WIDE_A ? dib : 18'h0, dia}),
        .dout({do_b, do_a})
    );
    // Output registers; those of a 36-bit word are all port B's.
    wire [17:0] out_a;
    wire [35:0] out_b;
    ecp5_register #(.WIDTH(18), .USED(REGMODE_A == "OUTREG")) reg_a (
        CLKA ^ (CLKAMUX == "INV"), OCEA, RSTA, do_a[17:0], out_a);
    ecp5_register #(.WIDTH(36), .USED(REGMODE_B == "OUTREG")) reg_b (
        CLKB ^ (CLKBMUX == "INV"), OCEB, RSTB, do_b[35:0], out_b);

    // A 36-bit read has its lower half on DOA; any narrower read by port B is on DOB.
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
        DOA0
    } = WIDE_B ? out_b[17:0] : out_a;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
        DOB0
    } = WIDE_B ? out_b[35:18] : out_b[17:0];
endmodule
