// Behaviour of the 7-series block RAMs in the modes that Yosys emits; Yosys' own models of them are empty.
// Source: Xilinx UG473 (7 Series FPGAs Memory Resources).

// Block RAM of 2048 bytes of 9 bits.  TDP: two ports of up to 18 bits.  SDP: A reads, B writes, and a port of 36 bits
// takes the data pins of both.  An address counts bits of data; parity is the ninth bit of each byte.
module RAMB18E1 (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB,
    input RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [13:0] ADDRARDADDR, ADDRBWRADDR,
    input [15:0] DIADI, DIBDI,
    input [1:0] DIPADIP, DIPBDIP,
    input [1:0] WEA,
    input [3:0] WEBWE,
    output [15:0] DOADO, DOBDO,
    output [1:0] DOPADOP, DOPBDOP
);
    parameter integer DOA_REG = 0;
    parameter integer DOB_REG = 0;
    parameter [17:0] INIT_A = 0;
    parameter [17:0] INIT_B = 0;
    parameter [17:0] SRVAL_A = 0;
    parameter [17:0] SRVAL_B = 0;
    parameter RAM_MODE = "TDP";
    parameter RDADDR_COLLISION_HWCONFIG = "DELAYED_WRITE";
    parameter SIM_DEVICE = "7SERIES";
    parameter SIM_COLLISION_CHECK = "ALL";
    parameter RSTREG_PRIORITY_A = "RSTREG";
    parameter RSTREG_PRIORITY_B = "RSTREG";
    parameter INIT_FILE = "NONE";
    parameter integer READ_WIDTH_A = 0;
    parameter integer READ_WIDTH_B = 0;
    parameter integer WRITE_WIDTH_A = 0;
    parameter integer WRITE_WIDTH_B = 0;
    parameter WRITE_MODE_A = "WRITE_FIRST";
    parameter WRITE_MODE_B = "WRITE_FIRST";
    parameter [0:0] IS_CLKARDCLK_INVERTED = 0;
    parameter [0:0] IS_CLKBWRCLK_INVERTED = 0;
    parameter [0:0] IS_ENARDEN_INVERTED = 0;
    parameter [0:0] IS_ENBWREN_INVERTED = 0;
    parameter [0:0] IS_RSTRAMARSTRAM_INVERTED = 0;
    parameter [0:0] IS_RSTRAMB_INVERTED = 0;
    parameter [0:0] IS_RSTREGARSTREG_INVERTED = 0;
    parameter [0:0] IS_RSTREGB_INVERTED = 0;
    parameter [255:0] INIT_00 = 256'h0;
    parameter [255:0] INIT_01 = 256'h0;
    parameter [255:0] INIT_02 = 256'h0;
    parameter [255:0] INIT_03 = 256'h0;
    parameter [255:0] INIT_04 = 256'h0;
    parameter [255:0] INIT_05 = 256'h0;
    parameter [255:0] INIT_06 = 256'h0;
    parameter [255:0] INIT_07 = 256'h0;
    parameter [255:0] INIT_08 = 256'h0;
    parameter [255:0] INIT_09 = 256'h0;
    parameter [255:0] INIT_0A = 256'h0;
    parameter [255:0] INIT_0B = 256'h0;
    parameter [255:0] INIT_0C = 256'h0;
    parameter [255:0] INIT_0D = 256'h0;
    parameter [255:0] INIT_0E = 256'h0;
    parameter [255:0] INIT_0F = 256'h0;
    parameter [255:0] INIT_10 = 256'h0;
    parameter [255:0] INIT_11 = 256'h0;
    parameter [255:0] INIT_12 = 256'h0;
    parameter [255:0] INIT_13 = 256'h0;
    parameter [255:0] INIT_14 = 256'h0;
    parameter [255:0] INIT_15 = 256'h0;
    parameter [255:0] INIT_16 = 256'h0;
    parameter [255:0] INIT_17 = 256'h0;
    parameter [255:0] INIT_18 = 256'h0;
    parameter [255:0] INIT_19 = 256'h0;
    parameter [255:0] INIT_1A = 256'h0;
    parameter [255:0] INIT_1B = 256'h0;
    parameter [255:0] INIT_1C = 256'h0;
    parameter [255:0] INIT_1D = 256'h0;
    parameter [255:0] INIT_1E = 256'h0;
    parameter [255:0] INIT_1F = 256'h0;
    parameter [255:0] INIT_20 = 256'h0;
    parameter [255:0] INIT_21 = 256'h0;
    parameter [255:0] INIT_22 = 256'h0;
    parameter [255:0] INIT_23 = 256'h0;
    parameter [255:0] INIT_24 = 256'h0;
    parameter [255:0] INIT_25 = 256'h0;
    parameter [255:0] INIT_26 = 256'h0;
    parameter [255:0] INIT_27 = 256'h0;
    parameter [255:0] INIT_28 = 256'h0;
    parameter [255:0] INIT_29 = 256'h0;
    parameter [255:0] INIT_2A = 256'h0;
    parameter [255:0] INIT_2B = 256'h0;
    parameter [255:0] INIT_2C = 256'h0;
    parameter [255:0] INIT_2D = 256'h0;
    parameter [255:0] INIT_2E = 256'h0;
    parameter [255:0] INIT_2F = 256'h0;
    parameter [255:0] INIT_30 = 256'h0;
    parameter [255:0] INIT_31 = 256'h0;
    parameter [255:0] INIT_32 = 256'h0;
    parameter [255:0] INIT_33 = 256'h0;
    parameter [255:0] INIT_34 = 256'h0;
    parameter [255:0] INIT_35 = 256'h0;
    parameter [255:0] INIT_36 = 256'h0;
    parameter [255:0] INIT_37 = 256'h0;
    parameter [255:0] INIT_38 = 256'h0;
    parameter [255:0] INIT_39 = 256'h0;
    parameter [255:0] INIT_3A = 256'h0;
    parameter [255:0] INIT_3B = 256'h0;
    parameter [255:0] INIT_3C = 256'h0;
    parameter [255:0] INIT_3D = 256'h0;
    parameter [255:0] INIT_3E = 256'h0;
    parameter [255:0] INIT_3F = 256'h0;
    parameter [255:0] INITP_00 = 256'h0;
    parameter [255:0] INITP_01 = 256'h0;
    parameter [255:0] INITP_02 = 256'h0;
    parameter [255:0] INITP_03 = 256'h0;
    parameter [255:0] INITP_04 = 256'h0;
    parameter [255:0] INITP_05 = 256'h0;
    parameter [255:0] INITP_06 = 256'h0;
    parameter [255:0] INITP_07 = 256'h0;

    initial
        if (DOA_REG != 0 || DOB_REG != 0)
            $fatal(1, "RAMB18E1: output registers are not modelled");

    function integer mode_of(input [8 * 11 - 1:0] name);
        mode_of = name == "WRITE_FIRST" ? 1 : name == "READ_FIRST" ? 2 : 0;
    endfunction

    localparam SDP = RAM_MODE == "SDP";
    localparam [16383:0] DATA = {
        INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
        INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
        INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
        INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
        INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
        INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
        INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
        INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
    };
    localparam [2047:0] PARITY = {
        INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
    };

    // {parity, data} of 2 or 4 bytes <-> bytes of 9 bits.
    function [71:0] to_bytes(input [7:0] parity, input [63:0] data);
        integer i;
        for (i = 0; i < 8; i = i + 1) to_bytes[9 * i +: 9] = {parity[i], data[8 * i +: 8]};
    endfunction

    function [71:0] value_of(input integer width, input [17:0] value);
        value_of = width < 9 ? value : width == 9 ? value[8:0] : width == 18 ? to_bytes(value[17:16], value[15:0])
            : to_bytes(value[17:16], value[15:0]);
    endfunction

    // In SDP mode the reset value of the second half is in the B parameters.
    localparam [71:0] OUT_A = SDP && READ_WIDTH_A == 36
        ? to_bytes({INIT_B[17:16], INIT_A[17:16]}, {INIT_B[15:0], INIT_A[15:0]})
        : value_of(READ_WIDTH_A, INIT_A);
    localparam [71:0] RESET_A = SDP && READ_WIDTH_A == 36
        ? to_bytes({SRVAL_B[17:16], SRVAL_A[17:16]}, {SRVAL_B[15:0], SRVAL_A[15:0]})
        : value_of(READ_WIDTH_A, SRVAL_A);

    wire [71:0] di_a = to_bytes(DIPADIP, DIADI);
    wire [71:0] di_b = SDP && WRITE_WIDTH_B == 36
        ? to_bytes({DIPBDIP, DIPADIP}, {DIBDI, DIADI}) : to_bytes(DIPBDIP, DIBDI);
    wire [71:0] do_a, do_b;

    block_ram #(
        .ADDR_BITS(14),
        .DATA(DATA),
        .PARITY(PARITY),
        .READ_WIDTH_A(READ_WIDTH_A),
        .READ_WIDTH_B(READ_WIDTH_B),
        .WRITE_WIDTH_A(WRITE_WIDTH_A),
        .WRITE_WIDTH_B(WRITE_WIDTH_B),
        .MODE_A(mode_of(WRITE_MODE_A)),
        .MODE_B(mode_of(WRITE_MODE_B)),
        .OUT_INIT_A(OUT_A),
        .OUT_INIT_B(value_of(READ_WIDTH_B, INIT_B)),
        .OUT_RESET_A(RESET_A),
        .OUT_RESET_B(value_of(READ_WIDTH_B, SRVAL_B)),
        .COLLISION_OLD_A(WRITE_MODE_A == "READ_FIRST"),
        .COLLISION_OLD_B(WRITE_MODE_B == "READ_FIRST"),
        .RESET_NEEDS_ENABLE(1)
    ) ram (
        .clk({CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED, CLKARDCLK ^ IS_CLKARDCLK_INVERTED}),
        .en({ENBWREN ^ IS_ENBWREN_INVERTED, ENARDEN ^ IS_ENARDEN_INVERTED}),
        .rst({RSTRAMB ^ IS_RSTRAMB_INVERTED, RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED}),
        .addr({2'b0, ADDRBWRADDR[13:0], 2'b0, ADDRARDADDR[13:0]}),
        .we({4'b0, WEBWE, 6'b0, WEA}),
        .din({di_b, di_a}),
        .dout({do_b, do_a})
    );

    wire wide = SDP && READ_WIDTH_A == 36;
    genvar i;
    generate
        for (i = 0; i < 2; i = i + 1) begin : byte_of
            assign {DOPADOP[i], DOADO[8 * i +: 8]} = do_a[9 * i +: 9];
            assign {DOPBDOP[i], DOBDO[8 * i +: 8]} = wide ? do_a[9 * (i + 2) +: 9] : do_b[9 * i +: 9];
        end
    endgenerate
endmodule

// Block RAM of 4096 bytes of 9 bits.  TDP: two ports of up to 36 bits.  SDP: A reads, B writes, and a port of 72 bits
// takes the data pins of both.  An address counts bits of data; parity is the ninth bit of each byte.
module RAMB36E1 (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB,
    input RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input CASCADEINA, CASCADEINB, INJECTDBITERR, INJECTSBITERR,
    input [15:0] ADDRARDADDR, ADDRBWRADDR,
    input [31:0] DIADI, DIBDI,
    input [3:0] DIPADIP, DIPBDIP,
    input [3:0] WEA,
    input [7:0] WEBWE,
    output CASCADEOUTA, CASCADEOUTB, SBITERR, DBITERR,
    output [7:0] ECCPARITY,
    output [8:0] RDADDRECC,
    output [31:0] DOADO, DOBDO,
    output [3:0] DOPADOP, DOPBDOP
);
    parameter integer DOA_REG = 0;
    parameter integer DOB_REG = 0;
    parameter [35:0] INIT_A = 0;
    parameter [35:0] INIT_B = 0;
    parameter [35:0] SRVAL_A = 0;
    parameter [35:0] SRVAL_B = 0;
    parameter RAM_MODE = "TDP";
    parameter RDADDR_COLLISION_HWCONFIG = "DELAYED_WRITE";
    parameter SIM_DEVICE = "7SERIES";
    parameter SIM_COLLISION_CHECK = "ALL";
    parameter RSTREG_PRIORITY_A = "RSTREG";
    parameter RSTREG_PRIORITY_B = "RSTREG";
    parameter INIT_FILE = "NONE";
    parameter RAM_EXTENSION_A = "NONE";
    parameter RAM_EXTENSION_B = "NONE";
    parameter EN_ECC_READ = "FALSE";
    parameter EN_ECC_WRITE = "FALSE";
    parameter integer READ_WIDTH_A = 0;
    parameter integer READ_WIDTH_B = 0;
    parameter integer WRITE_WIDTH_A = 0;
    parameter integer WRITE_WIDTH_B = 0;
    parameter WRITE_MODE_A = "WRITE_FIRST";
    parameter WRITE_MODE_B = "WRITE_FIRST";
    parameter [0:0] IS_CLKARDCLK_INVERTED = 0;
    parameter [0:0] IS_CLKBWRCLK_INVERTED = 0;
    parameter [0:0] IS_ENARDEN_INVERTED = 0;
    parameter [0:0] IS_ENBWREN_INVERTED = 0;
    parameter [0:0] IS_RSTRAMARSTRAM_INVERTED = 0;
    parameter [0:0] IS_RSTRAMB_INVERTED = 0;
    parameter [0:0] IS_RSTREGARSTREG_INVERTED = 0;
    parameter [0:0] IS_RSTREGB_INVERTED = 0;
    parameter [255:0] INIT_00 = 256'h0;
    parameter [255:0] INIT_01 = 256'h0;
    parameter [255:0] INIT_02 = 256'h0;
    parameter [255:0] INIT_03 = 256'h0;
    parameter [255:0] INIT_04 = 256'h0;
    parameter [255:0] INIT_05 = 256'h0;
    parameter [255:0] INIT_06 = 256'h0;
    parameter [255:0] INIT_07 = 256'h0;
    parameter [255:0] INIT_08 = 256'h0;
    parameter [255:0] INIT_09 = 256'h0;
    parameter [255:0] INIT_0A = 256'h0;
    parameter [255:0] INIT_0B = 256'h0;
    parameter [255:0] INIT_0C = 256'h0;
    parameter [255:0] INIT_0D = 256'h0;
    parameter [255:0] INIT_0E = 256'h0;
    parameter [255:0] INIT_0F = 256'h0;
    parameter [255:0] INIT_10 = 256'h0;
    parameter [255:0] INIT_11 = 256'h0;
    parameter [255:0] INIT_12 = 256'h0;
    parameter [255:0] INIT_13 = 256'h0;
    parameter [255:0] INIT_14 = 256'h0;
    parameter [255:0] INIT_15 = 256'h0;
    parameter [255:0] INIT_16 = 256'h0;
    parameter [255:0] INIT_17 = 256'h0;
    parameter [255:0] INIT_18 = 256'h0;
    parameter [255:0] INIT_19 = 256'h0;
    parameter [255:0] INIT_1A = 256'h0;
    parameter [255:0] INIT_1B = 256'h0;
    parameter [255:0] INIT_1C = 256'h0;
    parameter [255:0] INIT_1D = 256'h0;
    parameter [255:0] INIT_1E = 256'h0;
    parameter [255:0] INIT_1F = 256'h0;
    parameter [255:0] INIT_20 = 256'h0;
    parameter [255:0] INIT_21 = 256'h0;
    parameter [255:0] INIT_22 = 256'h0;
    parameter [255:0] INIT_23 = 256'h0;
    parameter [255:0] INIT_24 = 256'h0;
    parameter [255:0] INIT_25 = 256'h0;
    parameter [255:0] INIT_26 = 256'h0;
    parameter [255:0] INIT_27 = 256'h0;
    parameter [255:0] INIT_28 = 256'h0;
    parameter [255:0] INIT_29 = 256'h0;
    parameter [255:0] INIT_2A = 256'h0;
    parameter [255:0] INIT_2B = 256'h0;
    parameter [255:0] INIT_2C = 256'h0;
    parameter [255:0] INIT_2D = 256'h0;
    parameter [255:0] INIT_2E = 256'h0;
    parameter [255:0] INIT_2F = 256'h0;
    parameter [255:0] INIT_30 = 256'h0;
    parameter [255:0] INIT_31 = 256'h0;
    parameter [255:0] INIT_32 = 256'h0;
    parameter [255:0] INIT_33 = 256'h0;
    parameter [255:0] INIT_34 = 256'h0;
    parameter [255:0] INIT_35 = 256'h0;
    parameter [255:0] INIT_36 = 256'h0;
    parameter [255:0] INIT_37 = 256'h0;
    parameter [255:0] INIT_38 = 256'h0;
    parameter [255:0] INIT_39 = 256'h0;
    parameter [255:0] INIT_3A = 256'h0;
    parameter [255:0] INIT_3B = 256'h0;
    parameter [255:0] INIT_3C = 256'h0;
    parameter [255:0] INIT_3D = 256'h0;
    parameter [255:0] INIT_3E = 256'h0;
    parameter [255:0] INIT_3F = 256'h0;
    parameter [255:0] INIT_40 = 256'h0;
    parameter [255:0] INIT_41 = 256'h0;
    parameter [255:0] INIT_42 = 256'h0;
    parameter [255:0] INIT_43 = 256'h0;
    parameter [255:0] INIT_44 = 256'h0;
    parameter [255:0] INIT_45 = 256'h0;
    parameter [255:0] INIT_46 = 256'h0;
    parameter [255:0] INIT_47 = 256'h0;
    parameter [255:0] INIT_48 = 256'h0;
    parameter [255:0] INIT_49 = 256'h0;
    parameter [255:0] INIT_4A = 256'h0;
    parameter [255:0] INIT_4B = 256'h0;
    parameter [255:0] INIT_4C = 256'h0;
    parameter [255:0] INIT_4D = 256'h0;
    parameter [255:0] INIT_4E = 256'h0;
    parameter [255:0] INIT_4F = 256'h0;
    parameter [255:0] INIT_50 = 256'h0;
    parameter [255:0] INIT_51 = 256'h0;
    parameter [255:0] INIT_52 = 256'h0;
    parameter [255:0] INIT_53 = 256'h0;
    parameter [255:0] INIT_54 = 256'h0;
    parameter [255:0] INIT_55 = 256'h0;
    parameter [255:0] INIT_56 = 256'h0;
    parameter [255:0] INIT_57 = 256'h0;
    parameter [255:0] INIT_58 = 256'h0;
    parameter [255:0] INIT_59 = 256'h0;
    parameter [255:0] INIT_5A = 256'h0;
    parameter [255:0] INIT_5B = 256'h0;
    parameter [255:0] INIT_5C = 256'h0;
    parameter [255:0] INIT_5D = 256'h0;
    parameter [255:0] INIT_5E = 256'h0;
    parameter [255:0] INIT_5F = 256'h0;
    parameter [255:0] INIT_60 = 256'h0;
    parameter [255:0] INIT_61 = 256'h0;
    parameter [255:0] INIT_62 = 256'h0;
    parameter [255:0] INIT_63 = 256'h0;
    parameter [255:0] INIT_64 = 256'h0;
    parameter [255:0] INIT_65 = 256'h0;
    parameter [255:0] INIT_66 = 256'h0;
    parameter [255:0] INIT_67 = 256'h0;
    parameter [255:0] INIT_68 = 256'h0;
    parameter [255:0] INIT_69 = 256'h0;
    parameter [255:0] INIT_6A = 256'h0;
    parameter [255:0] INIT_6B = 256'h0;
    parameter [255:0] INIT_6C = 256'h0;
    parameter [255:0] INIT_6D = 256'h0;
    parameter [255:0] INIT_6E = 256'h0;
    parameter [255:0] INIT_6F = 256'h0;
    parameter [255:0] INIT_70 = 256'h0;
    parameter [255:0] INIT_71 = 256'h0;
    parameter [255:0] INIT_72 = 256'h0;
    parameter [255:0] INIT_73 = 256'h0;
    parameter [255:0] INIT_74 = 256'h0;
    parameter [255:0] INIT_75 = 256'h0;
    parameter [255:0] INIT_76 = 256'h0;
    parameter [255:0] INIT_77 = 256'h0;
    parameter [255:0] INIT_78 = 256'h0;
    parameter [255:0] INIT_79 = 256'h0;
    parameter [255:0] INIT_7A = 256'h0;
    parameter [255:0] INIT_7B = 256'h0;
    parameter [255:0] INIT_7C = 256'h0;
    parameter [255:0] INIT_7D = 256'h0;
    parameter [255:0] INIT_7E = 256'h0;
    parameter [255:0] INIT_7F = 256'h0;
    parameter [255:0] INITP_00 = 256'h0;
    parameter [255:0] INITP_01 = 256'h0;
    parameter [255:0] INITP_02 = 256'h0;
    parameter [255:0] INITP_03 = 256'h0;
    parameter [255:0] INITP_04 = 256'h0;
    parameter [255:0] INITP_05 = 256'h0;
    parameter [255:0] INITP_06 = 256'h0;
    parameter [255:0] INITP_07 = 256'h0;
    parameter [255:0] INITP_08 = 256'h0;
    parameter [255:0] INITP_09 = 256'h0;
    parameter [255:0] INITP_0A = 256'h0;
    parameter [255:0] INITP_0B = 256'h0;
    parameter [255:0] INITP_0C = 256'h0;
    parameter [255:0] INITP_0D = 256'h0;
    parameter [255:0] INITP_0E = 256'h0;
    parameter [255:0] INITP_0F = 256'h0;

    initial
        if (DOA_REG != 0 || DOB_REG != 0 || RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE")
            $fatal(1, "RAMB36E1: output registers and cascades are not modelled");

    function integer mode_of(input [8 * 11 - 1:0] name);
        mode_of = name == "WRITE_FIRST" ? 1 : name == "READ_FIRST" ? 2 : 0;
    endfunction

    localparam SDP = RAM_MODE == "SDP";
    localparam [32767:0] DATA = {
        INIT_7F, INIT_7E, INIT_7D, INIT_7C, INIT_7B, INIT_7A, INIT_79, INIT_78,
        INIT_77, INIT_76, INIT_75, INIT_74, INIT_73, INIT_72, INIT_71, INIT_70,
        INIT_6F, INIT_6E, INIT_6D, INIT_6C, INIT_6B, INIT_6A, INIT_69, INIT_68,
        INIT_67, INIT_66, INIT_65, INIT_64, INIT_63, INIT_62, INIT_61, INIT_60,
        INIT_5F, INIT_5E, INIT_5D, INIT_5C, INIT_5B, INIT_5A, INIT_59, INIT_58,
        INIT_57, INIT_56, INIT_55, INIT_54, INIT_53, INIT_52, INIT_51, INIT_50,
        INIT_4F, INIT_4E, INIT_4D, INIT_4C, INIT_4B, INIT_4A, INIT_49, INIT_48,
        INIT_47, INIT_46, INIT_45, INIT_44, INIT_43, INIT_42, INIT_41, INIT_40,
        INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
        INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
        INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
        INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
        INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
        INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
        INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
        INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
    };
    localparam [4095:0] PARITY = {
        INITP_0F, INITP_0E, INITP_0D, INITP_0C, INITP_0B, INITP_0A, INITP_09, INITP_08,
        INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
    };

    // {parity, data} of 4 or 8 bytes <-> bytes of 9 bits.
    function [71:0] to_bytes(input [7:0] parity, input [63:0] data);
        integer i;
        for (i = 0; i < 8; i = i + 1) to_bytes[9 * i +: 9] = {parity[i], data[8 * i +: 8]};
    endfunction

    function [71:0] value_of(input integer width, input [35:0] value);
        value_of = width < 9 ? value : width == 9 ? value[8:0] : width == 18 ? to_bytes(value[17:16], value[15:0])
            : to_bytes(value[35:32], value[31:0]);
    endfunction

    // In SDP mode the reset value of the second half is in the B parameters.
    localparam [71:0] OUT_A = SDP && READ_WIDTH_A == 72
        ? to_bytes({INIT_B[35:32], INIT_A[35:32]}, {INIT_B[31:0], INIT_A[31:0]})
        : value_of(READ_WIDTH_A, INIT_A);
    localparam [71:0] RESET_A = SDP && READ_WIDTH_A == 72
        ? to_bytes({SRVAL_B[35:32], SRVAL_A[35:32]}, {SRVAL_B[31:0], SRVAL_A[31:0]})
        : value_of(READ_WIDTH_A, SRVAL_A);

    wire [71:0] di_a = to_bytes(DIPADIP, DIADI);
    wire [71:0] di_b = SDP && WRITE_WIDTH_B == 72
        ? to_bytes({DIPBDIP, DIPADIP}, {DIBDI, DIADI}) : to_bytes(DIPBDIP, DIBDI);
    wire [71:0] do_a, do_b;

    block_ram #(
        .ADDR_BITS(15),
        .DATA(DATA),
        .PARITY(PARITY),
        .READ_WIDTH_A(READ_WIDTH_A),
        .READ_WIDTH_B(READ_WIDTH_B),
        .WRITE_WIDTH_A(WRITE_WIDTH_A),
        .WRITE_WIDTH_B(WRITE_WIDTH_B),
        .MODE_A(mode_of(WRITE_MODE_A)),
        .MODE_B(mode_of(WRITE_MODE_B)),
        .OUT_INIT_A(OUT_A),
        .OUT_INIT_B(value_of(READ_WIDTH_B, INIT_B)),
        .OUT_RESET_A(RESET_A),
        .OUT_RESET_B(value_of(READ_WIDTH_B, SRVAL_B)),
        .COLLISION_OLD_A(WRITE_MODE_A == "READ_FIRST"),
        .COLLISION_OLD_B(WRITE_MODE_B == "READ_FIRST"),
        .RESET_NEEDS_ENABLE(1)
    ) ram (
        .clk({CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED, CLKARDCLK ^ IS_CLKARDCLK_INVERTED}),
        .en({ENBWREN ^ IS_ENBWREN_INVERTED, ENARDEN ^ IS_ENARDEN_INVERTED}),
        .rst({RSTRAMB ^ IS_RSTRAMB_INVERTED, RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED}),
        .addr({1'b0, ADDRBWRADDR[14:0], 1'b0, ADDRARDADDR[14:0]}),
        .we({WEBWE, 4'b0, WEA}),
        .din({di_b, di_a}),
        .dout({do_b, do_a})
    );

    wire wide = SDP && READ_WIDTH_A == 72;
    genvar i;
    generate
        for (i = 0; i < 4; i = i + 1) begin : byte_of
            assign {DOPADOP[i], DOADO[8 * i +: 8]} = do_a[9 * i +: 9];
            assign {DOPBDOP[i], DOBDO[8 * i +: 8]} = wide ? do_a[9 * (i + 4) +: 9] : do_b[9 * i +: 9];
        end
    endgenerate
endmodule
